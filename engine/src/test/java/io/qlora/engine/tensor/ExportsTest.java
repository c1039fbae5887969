package io.qlora.engine.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.module.ModuleDescriptor;
import java.util.List;
import org.junit.jupiter.api.Test;

class ExportsTest {

    @Test
    void scalarKernelsAreForTheProjectsModulesAlone() {
        ModuleDescriptor engine = Tensor.class.getModule().getDescriptor();
        List<String> inside = engine.exports().stream()
                .filter(ModuleDescriptor.Exports::isQualified)
                .map(ModuleDescriptor.Exports::source)
                .toList();
        assertEquals(List.of("io.qlora.engine.scalar"), inside);
    }
}
