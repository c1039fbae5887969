package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.TensorEntry;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;

/**
 * Linears that are already 4-bit in their file, as bitsandbytes and transformers write them: taken as they are. The codes
 * stay mapped on a processor; the scales are copied. Decoding gives float32, whatever type the checkpoint would be decoded to elsewhere.
 */
final class BitsAndBytesReader {

    private static final String STATE = ".quant_state.bitsandbytes__";
    private static final String NF4 = STATE + "nf4";

    private final ModelFiles files;
    private final StoredTensors stored;
    private final ModelMemory memory;

    /**
     * A reader.
     *
     * @param stored for the codes
     * @param memory for the scales
     */
    BitsAndBytesReader(ModelFiles files, StoredTensors stored, ModelMemory memory) {
        this.files = files;
        this.stored = stored;
        this.memory = memory;
    }

    /** Whether any linear in these files is quantised. */
    static boolean anyIn(ModelFiles files) {
        return files.names().stream().anyMatch(name -> name.contains(STATE));
    }

    /** The name of the weight that a tensor is a part of: {@code w} of {@code w.absmax}, or the tensor's own name. */
    static String weightOf(String tensor) {
        int end = tensor.indexOf(".weight.");
        return end < 0 ? tensor : tensor.substring(0, end + ".weight".length());
    }

    /**
     * Whether the weight {@code spec} is stored in 4 bit; otherwise it is stored in full.
     *
     * @throws MalformedFileException if it is quantised in another way
     */
    static boolean has(ModelFiles files, Layout.Spec spec) throws MalformedFileException {
        if (files.contains(spec.module() + ".SCB")) {
            throw refused(files, spec, "8-bit weights of bitsandbytes");
        }
        if (files.contains(spec.name() + NF4)) {
            return true;
        }
        String state = spec.name() + STATE;
        Optional<String> other =
                files.names().stream().filter(name -> name.startsWith(state)).findFirst();
        if (other.isPresent()) {
            throw refused(files, spec, other.get().substring(state.length()));
        }
        return false;
    }

    /** Whether the scales of the weight {@code spec}, which is there in 4 bit, are quantised themselves. */
    static boolean nested(ModelFiles files, Layout.Spec spec) {
        return files.contains(spec.name() + ".nested_absmax");
    }

    /** The weight {@code spec}, which is there in 4 bit. */
    Nf4Weight read(Layout.Spec spec) throws IOException {
        return new Nf4Weight(spec.out(), spec.in(), codes(spec), absmax(spec));
    }

    private static MalformedFileException refused(ModelFiles files, Layout.Spec spec, String found)
            throws MalformedFileException {
        return new MalformedFileException(
                files.file(spec.name(), spec).path(),
                spec.name() + ": expected 16 or 32 bit, or NF4, found " + found + ": take the model in 16 bit");
    }

    /** The error that the head or the embedding is there in 4 bit. */
    static MalformedFileException refusedTable(ModelFiles files, Layout.Spec spec) throws MalformedFileException {
        return new MalformedFileException(
                files.file(spec.name(), spec).path(),
                spec.name()
                        + ": expected 16 or 32 bit, found NF4, which is read of the blocks' linears alone: take the model"
                        + " in 16 bit");
    }

    // quant_storage may have them viewed as any type: the bytes are what counts.
    private Tensor codes(Layout.Spec spec) throws IOException {
        SafetensorsFile file = files.file(spec.name(), spec);
        TensorEntry entry = file.entry(spec.name());
        long expected = (spec.shape().size() + 1) / 2;
        if (entry.bytes() != expected) {
            throw new MalformedFileException(
                    file.path(),
                    spec.name() + ": expected " + expected + " bytes of 4-bit codes for " + spec + ", found "
                            + entry.bytes());
        }
        return stored.bytes(file, spec.name());
    }

    private Nf4Weight.Absmax absmax(Layout.Spec spec) throws IOException {
        JsonFields state = state(spec);
        requireCodebook(spec);
        long blocks = (spec.shape().size() + Nf4Weight.BLOCK - 1) / Nf4Weight.BLOCK;
        if (!nested(files, spec)) {
            return new Nf4Weight.Plain(floats(spec.name() + ".absmax", blocks));
        }
        requireNumber(state, "nested_blocksize", Nf4Weight.NESTED_BLOCK);
        long groups = (blocks + Nf4Weight.NESTED_BLOCK - 1) / Nf4Weight.NESTED_BLOCK;
        return new Nf4Weight.Nested(
                bytes(spec.name() + ".absmax", blocks),
                floats(spec.name() + ".nested_absmax", groups),
                floats(spec.name() + ".nested_quant_map", 256),
                (float) state.number("nested_offset").orElseThrow(() -> state.bad("nested_offset", "given")));
    }

    private JsonFields state(Layout.Spec spec) throws IOException {
        SafetensorsFile file = files.file(spec.name() + NF4, "the quantisation's parameters");
        String what = "tensor " + spec.name() + NF4;
        JsonFields state = new JsonFields(
                file.path(), what + ": ", JsonFiles.parseObject(file.path(), what, file.readBytes(spec.name() + NF4)));
        if (!state.text("quant_type").orElse("").equals("nf4")) {
            throw state.bad("quant_type", "\"nf4\"");
        }
        requireNumber(state, "blocksize", Nf4Weight.BLOCK);
        JsonNode shape = state.object().path("shape");
        boolean fits = shape.size() == 2
                && shape.get(0).asLong() == spec.out()
                && shape.get(1).asLong() == spec.in();
        if (!fits) {
            throw state.bad("shape", spec.toString());
        }
        return state;
    }

    private static void requireNumber(JsonFields state, String name, int expected) throws MalformedFileException {
        if (state.integer(name).orElse(0) != expected) {
            throw state.bad(name, expected + ", the only size that is read here");
        }
    }

    private void requireCodebook(Layout.Spec spec) throws IOException {
        String name = spec.name() + ".quant_map";
        SafetensorsFile file = files.file(name, "the 16 values of the codes");
        if (!Arrays.equals(file.readFloats(name), Nf4.values())) {
            throw new MalformedFileException(
                    file.path(), "tensor " + name + ": expected the 16 values of NF4, found others");
        }
    }

    private Tensor floats(String name, long length) throws IOException {
        SafetensorsFile file = require(name, DType.F32, length);
        return memory.empty(DType.F32, length).set(file.readFloats(name));
    }

    private Tensor bytes(String name, long length) throws IOException {
        SafetensorsFile file = require(name, DType.U8, length);
        Tensor tensor = memory.empty(DType.U8, length);
        memory.device().write(MemorySegment.ofArray(file.readBytes(name)), tensor);
        return tensor;
    }

    private SafetensorsFile require(String name, DType dtype, long length) throws MalformedFileException {
        String expected = dtype + " " + Shape.of(length);
        SafetensorsFile file = files.file(name, expected);
        TensorEntry entry = file.entry(name);
        if (!entry.toString().equals(expected)) {
            Path path = file.path();
            throw new MalformedFileException(path, "tensor " + name + ": expected " + expected + ", found " + entry);
        }
        return file;
    }
}
