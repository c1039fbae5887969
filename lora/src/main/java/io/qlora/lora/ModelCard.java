package io.qlora.lora;

import java.util.List;
import java.util.regex.Pattern;

/** The {@code README.md} of an adapter: front matter for Hugging Face's hub, and how to use it. */
final class ModelCard {

    private static final Pattern PLAIN = Pattern.compile("[A-Za-z0-9][\\w.\\-]*(/[\\w.\\-]+)*");

    private ModelCard() {}

    static String of(LoraConfig config, List<String> modules) {
        String base = config.baseModelNameOrPath();
        return """
                ---
                base_model: %s
                library_name: peft
                pipeline_tag: text-generation
                tags:
                - %s
                - lora
                - transformers
                ---

                # LoRA adapter

                For the base model `%s`: rank %d, alpha %s%s, on %s.

                ```python
                from peft import AutoPeftModelForCausalLM

                model = AutoPeftModelForCausalLM.from_pretrained("this directory")
                ```
                """.formatted(
                        yaml(base),
                        yaml("base_model:adapter:" + base),
                        base,
                        config.r(),
                        ConfigWriter.number(config.loraAlpha()),
                        config.useRslora() ? " (rank-stabilised)" : "",
                        String.join(", ", modules));
    }

    private static String yaml(String text) {
        return PLAIN.matcher(text).matches()
                ? text
                : "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }
}
