package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Files with a few bytes changed or the end cut off load, or are refused in a sentence: nothing else ever happens. */
class SpoiltFilesTest {

    private static final int TIMES = 60;
    private static final byte[] TELLING = "0123456789{}[]\",:-e.nul/".getBytes(StandardCharsets.UTF_8);

    @TempDir
    private Path temporary;

    @ParameterizedTest
    @CsvSource({
        "false, config.json",
        "false, model.safetensors.index.json",
        "false, model-00002-of-00004.safetensors",
        "false, tokenizer.json",
        "false, tokenizer_config.json",
        "true, config.json",
        "true, model.safetensors"
    })
    void spoiltFilesLoadOrAreRefused(boolean fourBit, String name) throws IOException {
        Path source = fourBit ? Golden.TINY.figures().resolve("bnb-4bit") : Golden.TINY.model();
        Path model = Models.copy(source, temporary.resolve("model"));
        byte[] whole = Files.readAllBytes(model.resolve(name));
        Random random = new Random(name.hashCode());
        int refused = 0;
        try (CpuDevice device = new CpuDevice(1)) {
            for (int i = 0; i < TIMES; i++) {
                Files.write(model.resolve(name), spoil(whole, name, random));
                refused += isRefused(model, fourBit, device) ? 1 : 0;
            }
        }
        assertTrue(refused > 0, "nothing was refused");
    }

    private static boolean isRefused(Path model, boolean fourBit, CpuDevice device) {
        try {
            LlamaModel.load(model, LoadOptions.defaults(), device).close();
            if (!fourBit) {
                LlamaTokenizer.load(model, LlamaConfig.read(model)).close();
            }
            return false;
        } catch (IOException e) {
            assertEquals(1, e.getMessage().lines().count(), e.getMessage());
            assertTrue(e.getMessage().contains(model.toString()), e.getMessage());
            return true;
        }
    }

    private static byte[] spoil(byte[] whole, String name, Random random) {
        byte[] bytes = whole.clone();
        int range = bytes.length;
        if (name.endsWith(".safetensors")) { // its header: numbers can have any value
            range = Long.BYTES
                    + (int) ByteBuffer.wrap(bytes)
                            .order(ByteOrder.LITTLE_ENDIAN)
                            .getLong();
        }
        for (int change : List.of(random.nextInt(3), random.nextInt(3))) {
            int place = random.nextInt(range);
            bytes[place] = switch (change) {
                case 0 -> (byte) (bytes[place] ^ (1 << random.nextInt(8)));
                case 1 -> TELLING[random.nextInt(TELLING.length)];
                default -> (byte) random.nextInt(256);
            };
        }
        return random.nextInt(10) == 0 ? Arrays.copyOf(bytes, random.nextInt(bytes.length)) : bytes;
    }
}
