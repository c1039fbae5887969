package io.qlora.lora;

import java.util.List;

/** The {@code README.md} of an adapter: front matter for Hugging Face's hub, and how to use it. */
final class ModelCard {

    private ModelCard() {}

    /** The card; where the base's name on the hub is not known, it is left to whoever publishes the adapter. */
    static String of(LoraConfig config, List<String> modules) {
        String base = config.baseModelNameOrPath();
        String name = HubName.of(base).orElse(null);
        String known = name == null ? base : name;
        return """
                ---
                %s
                library_name: peft
                pipeline_tag: text-generation
                tags:
                %s- lora
                - transformers
                ---

                # LoRA adapter

                For %s: rank %d, alpha %s%s, on %s.

                ```python
                from peft import AutoPeftModelForCausalLM

                model = AutoPeftModelForCausalLM.from_pretrained("this directory")
                ```
                """.formatted(
                        name == null ? "# base_model: owner/name, as the hub has it" : "base_model: " + name,
                        name == null ? "" : "- \"base_model:adapter:" + name + "\"\n",
                        known == null ? "a base model that was not named" : "the base model `" + known + "`",
                        config.r(),
                        ConfigWriter.number(config.loraAlpha()),
                        config.useRslora() ? " (rank-stabilised)" : "",
                        String.join(", ", modules));
    }
}
