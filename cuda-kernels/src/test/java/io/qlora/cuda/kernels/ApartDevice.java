package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.ops.testing.DelegatingDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Tensor;
import io.qlora.lora.LoraLinear;
import io.qlora.nf4.Nf4Linear;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Map;

/**
 * A card whose activations are float32 to the ops and of another type to the kernels: every kernel is given copies of its
 * activations, rounded, each in memory of its own, and what it writes is copied back. So the cases that are written for
 * float32 show the bfloat16 kernels, and AddressSanitizer sees where a tensor ends.
 */
public final class ApartDevice extends DelegatingDevice {

    /** The activations among a contract's parameters: i is read, o is written, b both; a gradient is written or added to. */
    private static final Map<Class<?>, Map<String, String>> ACTIVATIONS = Map.ofEntries(
            Map.entry(Add.Kernel.class, Map.of("forward", "iio")),
            Map.entry(AddRmsNorm.Kernel.class, Map.of("forward", "ii--oo-")),
            Map.entry(RmsNorm.Kernel.class, Map.of("forward", "i--o-", "backward", "i--io-")),
            Map.entry(SwiGlu.Kernel.class, Map.of("forward", "iio", "backward", "iiioo")),
            Map.entry(Rope.Kernel.class, Map.of("forward", "bb--", "backward", "ii--oo")),
            Map.entry(Dropout.Kernel.class, Map.of("forward", "i---o", "backward", "i---o")),
            Map.entry(Embedding.Kernel.class, Map.of("forward", "--o", "backward", "-i-")),
            Map.entry(Linear.Kernel.class, Map.of("forward", "i-o", "backward", "i-io-")),
            Map.entry(Nf4Linear.Kernel.class, Map.of("forward", "i-o", "backward", "-io")),
            Map.entry(LoraLinear.Kernel.class, Map.of("forward", "ii--oo", "down", "i-o", "backward", "i--iiooo--")),
            Map.entry(Attention.Kernel.class, Map.of("forward", "iii-o-", "backward", "iiii-i--ooo")),
            Map.entry(CachedAttention.Kernel.class, Map.of("forward", "iii---o")),
            Map.entry(LinearCrossEntropy.Kernel.class, Map.of("nll", "b----", "scatter", "i--o")));

    private final CudaDevice card;
    private final DType activations;
    private final CudaCast cast;

    /** Kernels of this card are given activations of this type. */
    public ApartDevice(CudaDevice card, DType activations) {
        super(card);
        this.card = card;
        this.activations = activations;
        this.cast = new CudaCast(card);
    }

    @Override
    public <K> K kernel(Class<K> contract) {
        K kernel = card.kernel(contract);
        Map<String, String> parameters = ACTIVATIONS.get(contract);
        if (parameters == null) {
            return kernel;
        }
        return contract.cast(Proxy.newProxyInstance(
                contract.getClassLoader(), new Class<?>[] {contract}, (proxy, method, given) -> {
                    String roles = parameters.getOrDefault(method.getName(), "-".repeat(given.length));
                    return call(kernel, method, given, roles);
                }));
    }

    private Object call(Object kernel, Method method, Object[] given, String roles) throws Throwable {
        Object[] copies = given.clone();
        for (int i = 0; i < given.length; i++) {
            if (roles.charAt(i) != '-' && given[i] != null) {
                copies[i] = apart(given[i], roles.charAt(i));
            }
        }
        try {
            return method.invoke(kernel, copies);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        } finally {
            for (int i = 0; i < given.length; i++) {
                if ((roles.charAt(i) == 'o' || roles.charAt(i) == 'b') && given[i] != null) {
                    cast.forward(tensor(copies[i]), tensor(given[i]));
                }
            }
        }
    }

    private Object apart(Object given, char role) {
        Tensor full = tensor(given);
        DeviceArena arena = card.newArena(); // of a test that ends soon
        Tensor copy = new Tensor(activations, full.shape(), arena.allocate(activations.bytes() * full.size()), card);
        if (role != 'o' || (given instanceof Grad grad && grad.accumulate())) {
            cast.forward(full, copy);
        }
        return given instanceof Grad grad ? new Grad(copy, grad.accumulate()) : copy;
    }

    private static Tensor tensor(Object given) {
        return given instanceof Grad grad ? grad.tensor() : (Tensor) given;
    }

    @Override
    public String name() {
        return card.name() + " in " + activations;
    }
}
