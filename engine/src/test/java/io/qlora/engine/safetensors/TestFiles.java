package io.qlora.engine.safetensors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Safetensors files made by hand, to be wrong in one way each. */
final class TestFiles {

    private TestFiles() {}

    /** A file of this header, whose length is stated rightly, and {@code data} bytes 0, 1, 2, … */
    static Path write(Path file, String header, int data) throws IOException {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        return write(file, json.length, json, data);
    }

    /** A file that states {@code length} for the length of its header. */
    static Path write(Path file, long length, byte[] header, int data) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(8 + header.length + data).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(length).put(header);
        for (int i = 0; i < data; i++) {
            bytes.put((byte) i);
        }
        return Files.write(file, bytes.array());
    }

    /** A header's entry. */
    static String entry(String name, String dtype, String shape, long begin, long end) {
        return "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
                .formatted(name, dtype, shape, begin, end);
    }
}
