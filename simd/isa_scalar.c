/* The portable tier: the reference for all others, and the only one on CPUs that nothing is known of. */
#include "simd/isa.h"
#include "simd/mac_scalar.h"
#include "simd/float_tmpl.h"
#include "simd/matmul_tmpl.h"

void nb_fill_scalar(nb_kernels *k) {
    k->matmul_f32 = matmul_f32;
    k->matmul_f16 = matmul_f16;
    k->matmul_bf16 = matmul_bf16;
    k->matmul_q8 = matmul_q8;
    k->matmul_q4 = matmul_q4;
    k->quantize_acts = quantize_acts;
    k->rmsnorm = rmsnorm;
    k->layernorm = layernorm;
    k->rope = rope;
    k->add = add;
    k->mul = mul;
    k->scale = scale;
    k->blend = blend;
    k->relu2 = relu2;
    k->gelu_erf = gelu_erf;
    k->gelu_tanh = gelu_tanh;
    k->silu = silu;
    k->softcap = softcap;
    k->max = largest;
    k->exp_sum = exp_sum;
    k->argmax = argmax;
}
