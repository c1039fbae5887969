package io.qlora.nf4;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.safetensors.MappedTensor;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.ThrowingConsumer;

/**
 * The codec against bitsandbytes, by what it made of some weights. Of the project's own tiny model always; of another where
 * that lies beside the project; of any, with {@code -Dgolden=DIR}.
 */
class Nf4GoldenTest {

    private static final CpuDevice CPU = new CpuDevice(2);

    /** A weight of a golden file. */
    private record Golden(SafetensorsFile file, String name) {

        Tensor source(ModelMemory memory) throws IOException {
            try (MappedTensor mapped = file.map(name + ".weight", CPU)) {
                Tensor copy = memory.empty(
                        mapped.tensor().dtype(), mapped.tensor().shape().dims());
                CPU.copy(mapped.tensor(), copy);
                return copy;
            }
        }

        float offset() {
            return Float.parseFloat(file.metadata().get(name + ".dq.nested_offset"));
        }

        void assertBytes(String part, Tensor actual) throws IOException {
            byte[] bytes = actual.segment().toArray(ValueLayout.JAVA_BYTE);
            assertArrayEquals(file.readBytes(name + part), bytes, name + part);
        }

        void assertSameBits(String part, Tensor actual) throws IOException {
            float[] expected = file.readFloats(name + part);
            assertEquals(expected.length, actual.size(), name + part);
            Closeness.assertSameBits(expected, actual.toFloats(), name + part);
        }
    }

    @TestFactory
    Stream<DynamicNode> singleQuantisationIsBitEqual() throws Exception {
        return forEveryWeight(golden -> {
            try (ModelMemory memory = new ModelMemory(CPU)) {
                Nf4Weight weight = Nf4.quantize(golden.source(memory), false, memory, CPU);
                golden.assertBytes(".sq.codes", weight.codes());
                golden.assertSameBits(".sq.absmax", ((Nf4Weight.Plain) weight.absmax()).values());
                golden.assertSameBits(".sq.dequantised", Nf4.dequantize(weight, memory));
            }
        });
    }

    @TestFactory
    Stream<DynamicNode> theOffsetOfDoubleQuantisationIsTheReferencesButForRounding() throws Exception {
        return forEveryWeight(golden -> {
            try (ModelMemory memory = new ModelMemory(CPU)) {
                Nf4Weight weight = Nf4.quantize(golden.source(memory), true, memory, CPU);
                float offset = ((Nf4Weight.Nested) weight.absmax()).offset();
                assertEquals(golden.offset(), offset, 1e-6 * golden.offset(), golden.name);
            }
        });
    }

    @TestFactory
    Stream<DynamicNode> doubleQuantisationWithTheReferencesOffsetIsBitEqual() throws Exception {
        return forEveryWeight(golden -> {
            try (ModelMemory memory = new ModelMemory(CPU);
                    BumpPool passing = new BumpPool(CPU, 1 << 16)) {
                Nf4Weight weight = Nf4.quantizeTwice(golden.source(memory), golden.offset(), memory, passing, CPU);
                Nf4Weight.Nested nested = (Nf4Weight.Nested) weight.absmax();
                golden.assertBytes(".dq.codes", weight.codes());
                golden.assertBytes(".dq.absmax_codes", nested.codes());
                golden.assertSameBits(".dq.nested_absmax", nested.absmax2());
                golden.assertSameBits(".dq.nested_map", nested.map());
                golden.assertSameBits(".dq.dequantised", Nf4.dequantize(weight, memory));
            }
        });
    }

    private static Stream<DynamicNode> forEveryWeight(ThrowingConsumer<Golden> check) throws Exception {
        List<DynamicNode> directories = new ArrayList<>();
        for (Path directory : directories()) {
            SafetensorsFile file = SafetensorsFile.open(directory.resolve("nf4.safetensors"));
            List<DynamicTest> weights = new ArrayList<>();
            String marker = ".sq.codes";
            file.entries().stream()
                    .map(entry -> entry.name())
                    .filter(name -> name.endsWith(marker))
                    .map(name -> name.substring(0, name.length() - marker.length()))
                    .forEach(name ->
                            weights.add(DynamicTest.dynamicTest(name, () -> check.accept(new Golden(file, name)))));
            assertFalse(weights.isEmpty(), "no weights in " + file.path());
            directories.add(DynamicContainer.dynamicContainer(directory.toString(), weights));
        }
        return directories.stream();
    }

    private static List<Path> directories() throws URISyntaxException {
        List<Path> directories = new ArrayList<>();
        directories.add(Path.of(Objects.requireNonNull(Nf4GoldenTest.class.getResource("/golden/tiny/nf4.safetensors"))
                        .toURI())
                .getParent());
        Path beside = Path.of(System.getProperty("qlora.root", ".."), "../shared/golden/stories260K");
        if (Files.isDirectory(beside)) {
            directories.add(beside.normalize());
        }
        if (System.getProperty("golden") != null) {
            directories.add(Path.of(System.getProperty("golden")));
        }
        return directories;
    }
}
