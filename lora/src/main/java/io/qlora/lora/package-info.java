/**
 * LoRA as PEFT has it: {@link LoraConfig} says what to adapt and how, {@link LoraAdapter} does it to a model, {@link
 * PeftFiles} is the directory it is kept in.
 */
package io.qlora.lora;
