package io.qlora.cuda.kernels;

import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Has tests use {@code wgmma}'s kernels untried: wrong ones are to be seen there, not replaced. */
public final class WgmmaUntried implements BeforeEachCallback, AfterEachCallback {

    private static final String PROPERTY = "qlora.cuda.wgmma";

    @Override
    public void beforeEach(ExtensionContext context) {
        System.setProperty(PROPERTY, "true");
    }

    @Override
    public void afterEach(ExtensionContext context) {
        System.clearProperty(PROPERTY);
    }
}
