// The gated activation, eight elements a thread. Formulas: io.qlora.engine.ops.SwiGlu.

// y = gate · s · up, s = 1 / (1 + exp(−gate));  grid: ceil(n / 2048)
template <class T> __device__ void swi_glu_forward(const T *gate, const T *up, T *y, i64 n) {
    i64 i = 8 * global_thread();
    if (i >= n) {
        return;
    }
    float g[8], u[8];
    load8(gate, i, n, g);
    load8(up, i, n, u);
    for (int k = 0; k < 8; k++) {
        u[k] *= g[k] / (1 + expf(-g[k]));
    }
    store8(y, i, n, u);
}
ACTIVATION_KERNEL(swi_glu_forward, 256, (const T *gate, const T *up, T *y, i64 n), (gate, up, y, n))

// dgate = dy · up · s · (1 + gate · (1 − s)), dup = dy · gate · s; either may be null;  grid: ceil(n / 2048)
template <class T>
__device__ void swi_glu_backward(const T *gate, const T *up, const T *dy, T *dgate, int accumulate_gate, T *dup,
                                 int accumulate_up, i64 n) {
    i64 i = 8 * global_thread();
    if (i >= n) {
        return;
    }
    float g[8], u[8], d[8];
    load8(gate, i, n, g);
    load8(up, i, n, u);
    load8(dy, i, n, d);
    for (int k = 0; k < 8; k++) {
        float s = 1 / (1 + expf(-g[k]));
        u[k] *= d[k] * s * (1 + g[k] * (1 - s));
        d[k] *= g[k] * s;
    }
    if (dgate) {
        put8(dgate, i, n, u, accumulate_gate);
    }
    if (dup) {
        put8(dup, i, n, d, accumulate_up);
    }
}
ACTIVATION_KERNEL(swi_glu_backward, 256,
                  (const T *gate, const T *up, const T *dy, T *dgate, int accumulate_gate, T *dup, int accumulate_up, i64 n),
                  (gate, up, dy, dgate, accumulate_gate, dup, accumulate_up, n))
