package io.qlora.trainer;

import io.qlora.engine.safetensors.ShardedSafetensors;
import io.qlora.engine.safetensors.TensorEntry;
import io.qlora.llama.LlamaConfig;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;

/**
 * What tells a model from others of its shape, in milliseconds: SHA-256 of what the configuration says beside shapes, of each
 * tensor's description and of its first bytes. The same wherever the files lie, and however the tensors are shared out to
 * them.
 */
final class ModelDigest {

    private static final int FIRST = 4096; // bytes of a tensor: a page

    private ModelDigest() {}

    /** Opens the model's files, which checks their headers, and takes their digest, in hexadecimal digits. */
    static String of(Path model, LlamaConfig config) throws IOException {
        MessageDigest digest = sha256();
        add(
                digest,
                List.of(
                        config.numAttentionHeads(),
                        config.numKeyValueHeads(),
                        config.rmsNormEps(),
                        config.rope(),
                        config.tieWordEmbeddings()));
        try (ShardedSafetensors tensors = ShardedSafetensors.open(model)) {
            List<TensorEntry> entries = tensors.entries().stream()
                    .sorted(Comparator.comparing(TensorEntry::name))
                    .toList();
            for (TensorEntry entry : entries) {
                add(digest, entry.name() + " " + entry);
                digest.update(tensors.file(entry.name()).readBytes(entry.name(), FIRST));
            }
        }
        return HexFormat.of().formatHex(digest.digest());
    }

    private static void add(MessageDigest digest, Object words) {
        digest.update((words + "\n").getBytes(StandardCharsets.UTF_8));
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every Java has it
        }
    }
}
