package io.qlora.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.KernelProvider;
import io.qlora.nf4.Nf4;
import io.qlora.nf4.Nf4Linear;
import java.util.HashSet;
import java.util.List;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class CatalogueTest {

    /** Measured without a case: the products over a grid of sizes, the codec. */
    private static final Set<Class<?>> WITHOUT_CASE =
            Set.of(Linear.Kernel.class, Nf4Linear.Kernel.class, Nf4.Codec.class);

    @Test
    void everyKernelIsMeasured() {
        Set<Class<?>> contracts = new HashSet<>();
        try (CpuDevice device = new CpuDevice(1)) {
            for (KernelProvider provider : ServiceLoader.load(KernelProvider.class)) {
                contracts.addAll(provider.kernels(device).keySet());
            }
        }
        contracts.removeAll(WITHOUT_CASE);
        Set<Class<?>> measured = Ops.tests().stream()
                .flatMap(test -> test.measured().stream())
                .map(OpCase::contracts)
                .flatMap(List::stream)
                .collect(Collectors.toSet());
        contracts.removeAll(measured);
        assertEquals(Set.of(), contracts, "kernels of no measured case");
    }

    @Test
    void everySubjectIsFoundByItsName() {
        List<String> names = Catalogue.subjects().stream().map(Subject::name).toList();
        assertEquals(names.size(), Set.copyOf(names).size());
        names.forEach(name -> assertEquals(name, Catalogue.find(name).name()));
    }

    @Test
    void everyPeerIsASubject() {
        Set<String> names = Catalogue.subjects().stream().map(Subject::name).collect(Collectors.toSet());
        for (Subject subject : Catalogue.subjects()) {
            assertTrue(
                    subject.peer() == null || names.contains(subject.peer()), subject.name() + ": " + subject.peer());
        }
    }

    @Test
    void aProductIsRunWithTheWorkOfItsName() {
        try (CpuDevice device = new CpuDevice(1);
                Subject.Prepared product = Catalogue.find("nf4 backward, M=16, 768 -> 768")
                        .preparation()
                        .on(device)) {
            product.run();
            assertEquals(2.0 * 16 * 768 * 768, product.work().flops());
        }
    }

    @Test
    void anOpIsRunWithTheWorkOfItsCase() {
        try (CpuDevice device = new CpuDevice(1);
                Subject.Prepared op = Catalogue.find("Attention of 256 tokens, 12 heads of 64, backward")
                        .preparation()
                        .on(device)) {
            op.run();
            assertEquals(5 * 2.0 * 256 * 257 / 2 * 12 * 64, op.work().flops());
        }
    }
}
