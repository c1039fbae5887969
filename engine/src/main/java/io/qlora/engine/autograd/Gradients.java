package io.qlora.engine.autograd;

import io.qlora.engine.memory.BlockPool;
import io.qlora.engine.ops.Add;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * The gradients on their way back. An activation's is set by the first op that contributes, added to by the others, and
 * gone as soon as the op that produced the activation has used it. A leaf's accumulates in its {@link Parameter}.
 */
public final class Gradients {

    /** A gradient that may stand for several activations at once, until one of them is added to. */
    private static final class Shared {
        final Tensor tensor;
        int users = 1;

        Shared(Tensor tensor) {
            this.tensor = tensor;
        }
    }

    private final Tape tape;
    private final BlockPool pool;
    private final Gradients outer; // of the tape around this one, or null
    private final Map<Tensor, Shared> pending; // by activation
    private final Map<Tensor, Shared> running = new IdentityHashMap<>(); // by gradient: those of the op that runs

    Gradients(Tape tape, BlockPool pool) {
        this(tape, pool, null, new IdentityHashMap<>());
    }

    private Gradients(Tape tape, BlockPool pool, Gradients outer, Map<Tensor, Shared> pending) {
        this.tape = tape;
        this.pool = pool;
        this.outer = outer;
        this.pending = pending;
    }

    /** The same gradients as seen by a tape inside this one. */
    Gradients within(Tape inner) {
        return new Gradients(inner, pool, this, pending);
    }

    /**
     * Where to leave the gradient of {@code x}, or null when nobody wants it ({@code x} may itself be null). Asking is a
     * promise: the caller must write all of it.
     */
    public Grad wanted(Tensor x) {
        if (x == null || !tape.tracks(x)) {
            return null;
        }
        Parameter leaf = tape.leaves().of(x);
        if (leaf != null) {
            return new Grad(leaf.gradient(), true);
        }
        Shared there = pending.get(x);
        if (there == null) {
            there = new Shared(pool.empty(x.dtype(), x.shape()));
            pending.put(x, there);
            return new Grad(there.tensor, false);
        }
        if (there.users > 1) {
            Shared own = new Shared(pool.empty(x.dtype(), x.shape()));
            x.device().copy(there.tensor, own.tensor);
            there.users--;
            pending.put(x, own);
            there = own;
        }
        return new Grad(there.tensor, true);
    }

    /**
     * Contributes {@code dy} itself, the gradient that the running op was given, as the gradient of {@code x}: for ops
     * that pass it on unchanged.
     */
    public void pass(Tensor x, Tensor dy) {
        if (!tape.tracks(x)) {
            return;
        }
        Shared source = running(dy);
        if (source != null && tape.leaves().of(x) == null && !pending.containsKey(x)) {
            source.users++;
            pending.put(x, source);
            return;
        }
        Grad dx = wanted(x);
        if (dx.accumulate()) {
            x.device().kernel(Add.Kernel.class).forward(dx.tensor(), dy, dx.tensor());
        } else {
            x.device().copy(dy, dx.tensor());
        }
    }

    private Shared running(Tensor dy) {
        Shared shared = running.get(dy);
        return shared != null || outer == null ? shared : outer.running(dy);
    }

    /** Gives the gradients of {@code outputs} to the op that produced them; null for those that have none. */
    List<Tensor> take(List<Tensor> outputs) {
        List<Tensor> dys = new ArrayList<>(outputs.size());
        for (Tensor output : outputs) {
            Shared shared = pending.remove(output);
            dys.add(shared == null ? null : shared.tensor);
            if (shared != null) {
                running.put(shared.tensor, shared);
            }
        }
        return dys;
    }

    /** Drops the gradients that were given to the op that has now run. */
    void drop() {
        for (Shared shared : running.values()) {
            if (--shared.users == 0) {
                pool.free(shared.tensor);
            }
        }
        running.clear();
    }

    /** Drops what is left, after an op has failed. */
    void clear() {
        drop();
        for (Shared shared : pending.values()) {
            if (--shared.users == 0) {
                pool.free(shared.tensor);
            }
        }
        pending.clear();
    }
}
