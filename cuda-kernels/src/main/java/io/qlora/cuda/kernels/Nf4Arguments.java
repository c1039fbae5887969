package io.qlora.cuda.kernels;

import io.qlora.cuda.Arguments;
import io.qlora.engine.tensor.Nf4Weight;

/** How kernels take a weight in NF4: its codes where their matrix is, and its scales. */
final class Nf4Arguments {

    private Nf4Arguments() {}

    /** Four arguments: codes of the scales (null: plain), scales, map, offset. Of a dense weight: nothing, null. */
    static void scales(Arguments to, Nf4Weight weight) {
        switch (weight == null ? null : weight.absmax()) {
            case null -> to.pointer(null).pointer(null).pointer(null).real(0);
            case Nf4Weight.Plain plain ->
                to.pointer(null).pointer(plain.values()).pointer(null).real(0);
            case Nf4Weight.Nested nested ->
                to.pointer(nested.codes())
                        .pointer(nested.absmax2())
                        .pointer(nested.map())
                        .real(nested.offset());
        }
    }
}
