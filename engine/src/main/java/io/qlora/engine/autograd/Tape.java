package io.qlora.engine.autograd;

import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.Supplier;

/**
 * What was computed, in order, so that it can be walked back: explicit, linear, one a micro-batch. An op is recorded only
 * if one of its inputs is tracked, that is, if it depends on a leaf. One thread at a time.
 *
 * <p>A tape takes its tensors from a {@link StepMemory}. {@link #backward} drops each op's memory as soon as its gradient
 * is through, and {@link #close} drops the rest.
 */
public final class Tape implements AutoCloseable {

    private record Node(List<Tensor> outputs, Backward.Joint backward, BumpPool.Mark start) {}

    private final StepMemory memory;
    private final Parameters leaves;
    private final boolean recording;
    private final boolean again;
    private final BumpPool.Mark start;
    private final List<Node> nodes = new ArrayList<>();
    private final Set<Tensor> tracked = Collections.newSetFromMap(new IdentityHashMap<>());
    private BumpPool.Mark nodeStart;
    private BumpPool.Mark hostStart; // null as long as nothing of this tape is there
    private boolean walked; // whether what was recorded has been walked back
    private boolean last; // whether the ops that run are those of last()

    private Tape(StepMemory memory, Parameters leaves, boolean recording, boolean again) {
        this.memory = memory;
        this.leaves = leaves;
        this.recording = recording;
        this.again = again;
        this.start = memory.activations().mark();
        this.nodeStart = start;
    }

    /** A tape that records whatever depends on {@code leaves}. */
    public static Tape recording(StepMemory memory, Parameters leaves) {
        return new Tape(memory, leaves, true, false);
    }

    /**
     * A tape that records what was computed before, on another, and is computed again only to be walked back: nobody
     * reads the elements of its last output.
     */
    public static Tape recordingAgain(StepMemory memory, Parameters leaves) {
        return new Tape(memory, leaves, true, true);
    }

    /** A tape that records nothing: for evaluation and generation. */
    public static Tape inference(StepMemory memory) {
        return new Tape(memory, Parameters.none(), false, false);
    }

    /**
     * A tape that knows what depends on {@code leaves} but keeps no way back: for the forward pass of an op that runs a tape
     * of its own, and that again when it is walked back.
     */
    public static Tape tracking(StepMemory memory, Parameters leaves) {
        return new Tape(memory, leaves, false, false);
    }

    public Device device() {
        return memory.device();
    }

    public StepMemory memory() {
        return memory;
    }

    /** The tensors this tape gives gradients to. */
    public Parameters leaves() {
        return leaves;
    }

    /** A tensor with undefined elements, as long as this tape, or until the op that made it has been walked back. */
    public Tensor empty(DType dtype, long... dims) {
        return memory.activations().empty(dtype, Shape.of(dims));
    }

    /** A tensor with undefined elements, of {@code x}'s type and shape. */
    public Tensor like(Tensor x) {
        return memory.activations().empty(x.dtype(), x.shape());
    }

    /**
     * A tensor of {@code x}'s type and shape in the machine's memory, as long as this tape: for {@link
     * Device#copyBeside}.
     *
     * @throws UnsupportedOperationException if the device computes in the machine's memory itself
     */
    public Tensor onHost(Tensor x) {
        if (hostStart == null) {
            hostStart = memory.host().mark();
        }
        return memory.host().empty(x.dtype(), x.shape());
    }

    /**
     * Memory for the inside of an op: all tensors made after this call, by {@link #empty}, are dropped when it is closed.
     * Outputs and what is saved are therefore made before it.
     */
    public Scratch scratch() {
        BumpPool.Mark mark = memory.activations().mark();
        return () -> memory.activations().release(mark);
    }

    /** The end of a piece of scratch memory. */
    @FunctionalInterface
    public interface Scratch extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * Runs the ops at the end of what this tape is for: nothing else on it reads the elements of their outputs, and no way
     * back does. Where they are {@linkplain #recordingAgain recorded again} these need not be computed.
     */
    public Tensor last(Supplier<Tensor> ops) {
        last = true;
        try {
            return ops.get();
        } finally {
            last = false;
        }
    }

    /**
     * Whether an op has to compute its output. If not, its elements may stay undefined; an op that does not ask computes
     * something that nobody reads.
     */
    public boolean needsOutput() {
        return !(again && last);
    }

    /** Whether {@code x} is a leaf or depends on one. */
    public boolean tracks(Tensor x) {
        return leaves.of(x) != null || tracked.contains(x);
    }

    /** Makes {@code x} tracked though no op of this tape produced it: the input of a tape inside another. */
    public void track(Tensor x) {
        tracked.add(x);
    }

    /** Records an op of one output, if any of {@code inputs} is tracked. Returns {@code y}. */
    public Tensor record(Tensor y, List<Tensor> inputs, Backward backward) {
        record(List.of(y), inputs, (dys, gradients) -> backward.backward(dys.getFirst(), gradients));
        return y;
    }

    /**
     * Records an op of one output, if {@code depends} says that the output depends on a leaf: for an op that knows it from
     * more than its inputs. Returns {@code y}.
     */
    public Tensor record(Tensor y, boolean depends, Backward backward) {
        record(List.of(y), depends, (dys, gradients) -> backward.backward(dys.getFirst(), gradients));
        return y;
    }

    /** Records an op of several outputs, if any of {@code inputs} is tracked. */
    public void record(List<Tensor> outputs, List<Tensor> inputs, Backward.Joint backward) {
        record(outputs, inputs.stream().anyMatch(this::tracks), backward);
    }

    private void record(List<Tensor> outputs, boolean depends, Backward.Joint backward) {
        if (depends) {
            tracked.addAll(outputs);
            if (recording) {
                nodes.add(new Node(outputs, backward, nodeStart));
            }
        }
        nodeStart = memory.activations().mark();
    }

    /**
     * Walks back from a loss, a single element, whose own gradient is one: the leaves' gradients grow, everything else
     * that was recorded is dropped on the way.
     *
     * @throws IllegalArgumentException if nothing the loss depends on is trainable
     * @throws IllegalStateException if the tape has been walked back already
     */
    public void backward(Tensor loss) {
        Tensor one = memory.activations().empty(DType.F32, loss.shape());
        one.set(1f);
        Gradients gradients = new Gradients(this, memory.gradients());
        try {
            walk(loss, one, gradients);
        } finally {
            gradients.clear();
        }
    }

    /**
     * Walks back on behalf of an op that has run a tape of its own: contributes to the gradients of the tape around this
     * one, in particular to that of the input made known by {@link #track}.
     *
     * @param dy the gradient of {@code y}, of its shape
     */
    public void backward(Tensor y, Tensor dy, Gradients outer) {
        Gradients inner = outer.within(this);
        try {
            walk(y, dy, inner);
        } finally {
            inner.drop(); // nothing is left to drop unless an op has failed
        }
    }

    private void walk(Tensor y, Tensor dy, Gradients gradients) {
        if (!tracks(y) && walked) {
            throw new IllegalStateException("the tape has been walked back already, and " + y
                    + " has no gradient on it any more: record the ops again, on a new tape");
        }
        if (!tracks(y)) {
            throw new IllegalArgumentException("nothing that " + y + " depends on is trainable: it has no gradient");
        }
        walked = true;
        gradients.pass(y, dy);
        while (!nodes.isEmpty()) {
            Node node = nodes.removeLast();
            List<Tensor> dys = gradients.take(node.outputs);
            if (dys.stream().anyMatch(Objects::nonNull)) {
                node.backward.backward(dys, gradients);
            }
            gradients.drop();
            node.outputs.forEach(tracked::remove);
            memory.activations().release(node.start);
        }
    }

    /** Drops everything that was made on this tape. */
    @Override
    public void close() {
        nodes.clear();
        memory.activations().release(start);
        if (hostStart != null) {
            memory.host().release(hostStart);
        }
    }
}
