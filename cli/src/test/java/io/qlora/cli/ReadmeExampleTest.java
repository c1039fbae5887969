package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.StringWriter;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The README's example of embedding, taken from the README, compiled and run. */
class ReadmeExampleTest {

    private static final Path ROOT = Path.of(System.getProperty("qlora.root", ".."));
    private static final Path MODEL = Path.of("../llama-loader/src/test/resources/models/tiny");

    @TempDir
    Path folder;

    @Test
    void compilesAndLeavesAnAdapter() throws Exception {
        Matcher block = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL)
                .matcher(Files.readString(ROOT.resolve("README.md")));
        assertTrue(block.find(), "the README has no Java example");
        String source =
                "import io.qlora.llama.*; import io.qlora.lora.*; import io.qlora.trainer.*; import java.nio.file.Path;\n"
                        + "public class Example { public static void run(Path model, Path data, Path output) throws Exception {\n"
                        + block.group(1) + "}}";
        compile(source);
        Path data = Files.writeString(folder.resolve("data.jsonl"), "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
        Path output = folder.resolve("adapter");
        URL[] classes = {folder.toUri().toURL()};
        try (URLClassLoader loader = new URLClassLoader(classes, getClass().getClassLoader())) {
            loader.loadClass("Example")
                    .getMethod("run", Path.class, Path.class, Path.class)
                    .invoke(null, MODEL, data, output);
        }
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
    }

    private void compile(String source) {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        JavaFileObject file =
                new SimpleJavaFileObject(URI.create("string:///Example.java"), JavaFileObject.Kind.SOURCE) {
                    @Override
                    public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                        return source;
                    }
                };
        StringWriter messages = new StringWriter();
        List<String> options = List.of("-d", folder.toString(), "-classpath", System.getProperty("java.class.path"));
        boolean compiled = compiler.getTask(messages, null, null, options, null, List.of(file))
                .call();
        assertEquals(true, compiled, messages::toString);
    }
}
