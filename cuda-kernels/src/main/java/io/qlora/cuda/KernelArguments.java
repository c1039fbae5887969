package io.qlora.cuda;

/** What a kernel is launched with: a record a kernel, of its parameters in their order, that writes itself. */
@FunctionalInterface
public interface KernelArguments {

    /** Writes one argument for every parameter of the kernel. */
    void write(Arguments arguments);
}
