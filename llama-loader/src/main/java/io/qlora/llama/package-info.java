/**
 * Llama models from Hugging Face directories: {@link LlamaModel}, {@link LlamaTokenizer}, and the {@link Generator} of
 * text. What would be computed otherwise than transformers does is refused.
 */
package io.qlora.llama;
