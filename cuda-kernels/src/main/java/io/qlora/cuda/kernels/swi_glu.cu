// The gated activation, eight elements a thread. Formulas: io.qlora.engine.ops.SwiGlu.

/// 1 / (1 + exp(−x)) by the special function units: the exact functions would take longer than memory does.
__device__ __forceinline__ float sigmoid(float x) { return reciprocal(1 + power_of_two(x * -1.4426950408889634f)); }

template <bool WHOLE, class T> __device__ __forceinline__ void gated(const T *gate, const T *up, T *y, i64 i, i64 n) {
    float g[8], u[8];
    load8<WHOLE>(gate, i, n, g);
    load8<WHOLE>(up, i, n, u);
    for (int k = 0; k < 8; k++) {
        u[k] *= g[k] * sigmoid(g[k]);
    }
    store8<WHOLE>(y, i, n, u);
}

// y = gate · s · up, s = 1 / (1 + exp(−gate));  grid: ceil(n / 2048)
template <class T> __device__ void swi_glu_forward(const T *gate, const T *up, T *y, i64 n) {
    i64 i = 8 * global_thread();
    if (n % 8 == 0 && aligned(gate) && aligned(up) && aligned(y)) { // some rows of a tensor may begin anywhere
        gated<true>(gate, up, y, i, n);
    } else {
        gated<false>(gate, up, y, i, n);
    }
}
ACTIVATION_KERNEL(swi_glu_forward, 256, (const T *gate, const T *up, T *y, i64 n), (gate, up, y, n))

template <bool WHOLE, class T>
__device__ __forceinline__ void gated_gradients(const T *gate, const T *up, const T *dy, T *dgate, int accumulate_gate, T *dup,
                                                int accumulate_up, i64 i, i64 n) {
    float g[8], u[8], d[8];
    load8<WHOLE>(gate, i, n, g);
    load8<WHOLE>(up, i, n, u);
    load8<WHOLE>(dy, i, n, d);
    for (int k = 0; k < 8; k++) {
        float s = sigmoid(g[k]);
        u[k] *= d[k] * s * (1 + g[k] * (1 - s));
        d[k] *= g[k] * s;
    }
    if (dgate) {
        put8<WHOLE>(dgate, i, n, u, accumulate_gate);
    }
    if (dup) {
        put8<WHOLE>(dup, i, n, d, accumulate_up);
    }
}

// dgate = dy · up · s · (1 + gate · (1 − s)), dup = dy · gate · s; either may be null;  grid: ceil(n / 2048)
template <class T>
__device__ void swi_glu_backward(const T *gate, const T *up, const T *dy, T *dgate, int accumulate_gate, T *dup,
                                 int accumulate_up, i64 n) {
    i64 i = 8 * global_thread();
    if (n % 8 == 0 && aligned(gate) && aligned(up) && aligned(dy) && aligned(dgate) && aligned(dup)) {
        gated_gradients<true>(gate, up, dy, dgate, accumulate_gate, dup, accumulate_up, i, n);
    } else {
        gated_gradients<false>(gate, up, dy, dgate, accumulate_gate, dup, accumulate_up, i, n);
    }
}
ACTIVATION_KERNEL(swi_glu_backward, 256,
                  (const T *gate, const T *up, const T *dy, T *dgate, int accumulate_gate, T *dup, int accumulate_up, i64 n),
                  (gate, up, dy, dgate, accumulate_gate, dup, accumulate_up, n))
