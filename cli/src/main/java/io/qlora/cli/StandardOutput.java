package io.qlora.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;

/** What results are printed on. Remembers why it could not be written: a PrintWriter by itself says only that it was not. */
final class StandardOutput extends PrintWriter {

    private final Remembering stream;

    /** This process's own. */
    static StandardOutput open() {
        return new StandardOutput(new FileOutputStream(FileDescriptor.out));
    }

    StandardOutput(OutputStream stream) {
        this(new Remembering(stream));
    }

    private StandardOutput(Remembering stream) {
        super(new OutputStreamWriter(stream, StandardCharsets.UTF_8), true);
        this.stream = stream;
    }

    /** What failed first, or null; {@link #checkError} asks whether anything did. */
    IOException failure() {
        return stream.failure;
    }

    private static final class Remembering extends FilterOutputStream {

        private IOException failure;

        Remembering(OutputStream stream) {
            super(stream);
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            try {
                out.write(bytes, offset, length);
            } catch (IOException e) {
                failure = failure == null ? e : failure;
                throw e;
            }
        }
    }
}
