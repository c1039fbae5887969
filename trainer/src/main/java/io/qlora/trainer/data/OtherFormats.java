package io.qlora.trainer.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** Data files of formats that are not read here, known by their first bytes or by their names. */
final class OtherFormats {

    private static final int FIRST = 8; // bytes that are looked at
    private static final String TO_JSONL =
            ": turn it into JSONL, one object a line, as Dataset.to_json of Hugging Face's datasets does";

    /** What files begin with, as ISO 8859-1, and what they are. */
    private static final Map<String, String> BEGINNINGS = beginnings();

    private OtherFormats() {}

    private static Map<String, String> beginnings() {
        Map<String, String> beginnings = new LinkedHashMap<>();
        beginnings.put("PAR1", "not text but Parquet" + TO_JSONL);
        beginnings.put("ARROW1", "not text but Arrow" + TO_JSONL);
        beginnings.put("\u00FE\u00FF", "not UTF-8 text but UTF-16: save it as UTF-8");
        beginnings.put("\u00FF\u00FE", "not UTF-8 text but UTF-16: save it as UTF-8");
        beginnings.put("\u001F\u008B", "not text but gzip: unpack it first");
        beginnings.put("\u0028\u00B5\u002F\u00FD", "not text but Zstandard: unpack it first");
        beginnings.put("BZh", "not text but bzip2: unpack it first");
        beginnings.put("PK\u0003\u0004", "not text but a zip archive: unpack it first");
        return beginnings;
    }

    /** What this file is, and what to do about it; empty if it may be one that is read. */
    static Optional<String> of(Path file) throws IOException {
        String first;
        try (InputStream stream = Files.newInputStream(file)) {
            first = new String(stream.readNBytes(FIRST), StandardCharsets.ISO_8859_1);
        }
        for (Map.Entry<String, String> each : BEGINNINGS.entrySet()) {
            if (first.startsWith(each.getKey())) {
                return Optional.of(each.getValue());
            }
        }
        String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
        boolean table = name.endsWith(".csv") || name.endsWith(".tsv");
        boolean json = first.contains("{") || first.contains("[");
        return table && !json ? Optional.of("a table" + TO_JSONL) : Optional.empty();
    }
}
