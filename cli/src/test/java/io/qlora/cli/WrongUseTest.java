package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Options and paths that are wrong: exit code 2, one sentence that names the option, and nothing is done. */
class WrongUseTest {

    @TempDir
    Path folder;

    private Path data;

    @BeforeEach
    void write() throws IOException {
        data = TinyModel.data(folder.resolve("data.jsonl"), 4);
    }

    private Cli.Result train(Object... options) {
        return run(
                List.of("train", "--model", TinyModel.DIRECTORY, "--data", data, "--output", folder.resolve("out")),
                options);
    }

    private Cli.Result eval(Object... options) {
        return run(List.of("eval", "--model", TinyModel.DIRECTORY, "--data", data), options);
    }

    private Cli.Result generate(Object... options) {
        return run(List.of("generate", "--model", TinyModel.DIRECTORY), options);
    }

    private Cli.Result run(List<Object> command, Object... options) {
        List<Object> arguments = new ArrayList<>(command);
        arguments.addAll(Arrays.asList(options));
        Cli.Result result = Cli.run(arguments.toArray());
        assertFalse(Files.exists(folder.resolve("out")));
        return result;
    }

    @ParameterizedTest
    @CsvSource({
        "--lora-r, 0, at least 1",
        "--lora-r, -3, at least 1",
        "--lora-alpha, NaN, a number",
        "--lora-alpha, Infinity, a number",
        "--lora-dropout, 1.5, from 0 to below 1",
        "--lora-dropout, 1, from 0 to below 1",
        "--lora-dropout, NaN, from 0 to below 1",
        "--learning-rate, NaN, a number from 0",
        "--learning-rate, -1e-4, a number from 0",
        "--learning-rate, Infinity, a number from 0",
        "--warmup-ratio, 1.1, from 0 to 1",
        "--warmup-ratio, NaN, from 0 to 1",
        "--weight-decay, -1, a number from 0",
        "--max-grad-norm, -1, a number from 0",
        "--max-grad-norm, NaN, a number from 0",
        "--num-train-epochs, 0, a number above 0",
        "--num-train-epochs, NaN, a number above 0",
        "--num-train-epochs, 1e12, fewer",
        "--max-steps, 0, at least 1",
        "--max-steps, -1, at least 1",
        "--per-device-train-batch-size, 0, at least 1",
        "--gradient-accumulation-steps, 0, at least 1",
        "--gradient-accumulation-steps, 2147483647, at most 268435455",
        "--max-length, 1, at least 2",
        "--max-length, -5, at least 2",
        "--logging-steps, 0, at least 1",
        "--save-steps, 0, at least 1",
        "--eval-split, 2.5, a share below 1 or a whole number",
        "--eval-split, -0.1, a share or a number above 0",
        "--eval-split, NaN, a share or a number above 0",
        "--eval-split, Infinity, a share below 1 or a whole number",
        "--threads, 0, from 1 to",
        "--threads, 1000000, from 1 to",
    })
    void numbersOfTrainThatAreOutOfTheirRange(String option, String value, String expected) {
        train(option, value).assertWrongUse(option + " should be", expected, "found ");
    }

    @ParameterizedTest
    @CsvSource({
        "--max-new-tokens, 0, at least 1",
        "--temperature, -1, a number from 0",
        "--temperature, NaN, a number from 0",
        "--top-k, -1, at least 0",
        "--top-p, 0, above 0 and at most 1",
        "--top-p, 1.5, above 0 and at most 1",
    })
    void numbersOfGenerateThatAreOutOfTheirRange(String option, String value, String expected) {
        generate(option, value).assertWrongUse(option + " should be", expected, "found ");
    }

    @Test
    void numbersOfEvalThatAreOutOfTheirRange() {
        eval("--per-device-eval-batch-size", 0)
                .assertWrongUse("--per-device-eval-batch-size should be at least 1, found 0");
        eval("--max-length", 0).assertWrongUse("--max-length should be at least 2, found 0");
    }

    @ParameterizedTest
    @CsvSource({
        "--lora-r, eight",
        "--lora-r, 2.5",
        "--lora-r, 99999999999",
        "--learning-rate, fast",
        "--seed, x",
        "--quantization, int8",
        "--lr-scheduler-type, sawtooth",
    })
    void valuesOfAnotherKindAreRefused(String option, String value) {
        train(option, value).assertWrongUse(option, value, "qlora train --help shows what there is");
    }

    @ParameterizedTest
    @ValueSource(strings = {"gpu:x", "cuda:", "cuda:-1", "cuda:99999", "CUDA", "cuda0"})
    void devicesThatAreNone(String name) {
        train("--device", name).assertWrongUse("--device should be cpu, cuda or", "found " + name);
    }

    @Test
    void devicesAndBindingsThatThereAreNotInThisBuild() {
        train("--device", "tpu").assertWrongUse("--device tpu: this build has no such device, only cpu, ", "cuda");
        train("--device", "cuda", "--cuda-binding", "jni")
                .assertWrongUse("--cuda-binding should be one of panama, jcuda, found jni");
        eval("--device", "cuda:1", "--cuda-binding", "x").assertWrongUse("--cuda-binding should be one of");
        generate("--device", "cuda", "--cuda-binding", "").assertWrongUse("--cuda-binding should be one of");
    }

    @Test
    void optionsOfAnotherDevice() {
        train("--cuda-binding", "jcuda").assertWrongUse("--cuda-binding goes with --device cuda");
        train("--device", "cuda", "--threads", 2).assertWrongUse("--threads goes with --device cpu");
        train("--offload-activations").assertWrongUse("--offload-activations", "--gradient-checkpointing");
        train("--offload-activations", "--gradient-checkpointing")
                .assertWrongUse("--offload-activations", "train on a card");
    }

    @Test
    void optionsThatExcludeEachOther() throws IOException {
        train("--max-steps", 3, "--num-train-epochs", 2).assertWrongUse("--max-steps and --num-train-epochs exclude");
        train("--eval-data", data, "--eval-split", 1).assertWrongUse("--eval-split and --eval-data exclude");
        train("--quantization", "none", "--double-quant").assertWrongUse("--double-quant", "--quantization none");
        train("--eval-steps", 5).assertWrongUse("--eval-steps needs", "--eval-data or --eval-split");
        train("--lr-scheduler-type", "constant", "--warmup-ratio", 0.1)
                .assertWrongUse("--warmup-ratio should be 0", "constant_with_warmup", "found 0.1");
        train("--lora-r", 4, "--lora-r", 8).assertWrongUse("--lora-r", "only once");
        train("--target-modules", "q_proj", ".*v_proj")
                .assertWrongUse("--target-modules", "one regular expression alone");
        train("--target-modules", "all-linear", "q_proj").assertWrongUse("--target-modules", "all-linear alone");
        generate("--prompt", "a", "--instruction", "b").assertWrongUse("--instruction and --prompt exclude");
        generate("--input", "a").assertWrongUse("--input goes with --instruction");
        generate("--top-k", 4).assertWrongUse("--top-k", "--temperature");
        generate("--top-p", 0.9, "--temperature", 0).assertWrongUse("--top-p", "--temperature");
    }

    @Test
    void targetsThatTheModelDoesNotHave() {
        train("--target-modules", "c_attn").assertWrongUse("target_modules [c_attn]", "q_proj", "down_proj");
        train("--target-modules", ".*\\.query").assertWrongUse("regular expression", "q_proj");
        train("--target-modules", "(").assertWrongUse("target_modules", "(");
    }

    @Test
    void unknownOptionsAndCommands() {
        train("--lora-rank", 8).assertWrongUse("Unknown option", "--lora-rank", "is it --lora-r");
        eval("--lora-r", 8).assertWrongUse("Unknown option", "--lora-r", "value of --data");
        train("--target-modules", "q_proj", "--typo").assertWrongUse("Unknown option", "--typo");
        Cli.run("trian").assertWrongUse("Unknown command: 'trian'; is it train?");
        Cli.run("train").assertWrongUse("--model", "--data", "--output");
        Cli.run().assertWrongUse("Which command?");
    }

    @ParameterizedTest
    @CsvSource({
        "traim --help, 'traim', is it train? (qlora --help",
        "--help traim, 'traim', is it train?",
        "traim --model x --help, 'traim', is it train?",
        "help traim, 'traim', qlora",
        "bench stpe --help, 'stpe', is it step? (qlora bench --help",
    })
    void helpOfACommandThatIsNone(String arguments, String name, String expected) {
        Cli.run((Object[]) arguments.split(" ")).assertWrongUse("Unknown ", name, expected);
    }

    @ParameterizedTest
    @ValueSource(strings = {"--lora-r", "--data", "--output"})
    void anOptionWithoutItsValue(String option) {
        Cli.run("train", option).assertWrongUse(option);
    }

    @Test
    void missingPaths() {
        Path nowhere = folder.resolve("nowhere");
        String expected = nowhere + ": there is no such ";
        Cli.run("train", "--model", nowhere, "--data", data, "--output", folder.resolve("out"))
                .assertWrongUse("--model " + expected);
        Cli.run("train", "--model", TinyModel.DIRECTORY, "--data", data, nowhere, "--output", folder.resolve("out"))
                .assertWrongUse("--data " + expected);
        train("--eval-data", nowhere).assertWrongUse("--eval-data " + expected);
        train("--resume-from-checkpoint", nowhere).assertWrongUse("--resume-from-checkpoint " + expected);
        eval("--adapter", nowhere).assertWrongUse("--adapter " + expected);
        generate("--adapter", nowhere).assertWrongUse("--adapter " + expected);
        Cli.run("inspect", nowhere).assertWrongUse(expected);
    }

    @Test
    void pathsOfTheWrongKind() {
        Cli.run("eval", "--model", data, "--data", data)
                .assertWrongUse("--model", "expected a directory, found a file");
        Cli.run("eval", "--model", folder, "--data", data).assertWrongUse("--model", "no config.json");
        Cli.run("eval", "--model", TinyModel.DIRECTORY, "--data", folder)
                .assertWrongUse("--data", "expected a file, found a directory");
        Cli.run("inspect", folder).assertWrongUse("config.json", "adapter_config.json");
    }

    /** What a shell makes of {@code <(zcat data.jsonl.gz)}. */
    @Test
    void aPipeIsCalledOne() throws IOException, InterruptedException {
        assumeFalse(System.getProperty("os.name").startsWith("Windows"), "Windows has no such files");
        Path pipe = folder.resolve("pipe");
        assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
        String expected = pipe + ": is a pipe or a device, and data is read more than once: save it to a file first";
        Cli.run("eval", "--model", TinyModel.DIRECTORY, "--data", pipe).assertWrongUse("--data " + expected);
        train("--eval-data", pipe).assertWrongUse("--eval-data " + expected);
        Cli.run("inspect", pipe).assertWrongUse(expected);
    }

    @Test
    void namesOfModelsOnHuggingFaceAreNoDirectories() {
        Cli.run("eval", "--model", "meta-llama/Llama-3.2-1B", "--data", data)
                .assertWrongUse("there is no such directory; if that is a name on Hugging Face, get");
    }

    @Test
    void metasOwnFormatIsNamed() throws IOException {
        Files.createFile(folder.resolve("params.json"));
        Cli.run("eval", "--model", folder, "--data", data)
                .assertWrongUse("--model", "no config.json in it but params.json: Meta's own format is not read");
    }

    @Test
    void unreadablePaths() throws IOException {
        Path secret = TinyModel.data(folder.resolve("secret.jsonl"), 1);
        assertTrue(secret.toFile().setReadable(false, false));
        assumeFalse(Files.isReadable(secret), "this user may read everything");
        eval("--data", secret).assertWrongUse("--data " + secret, "permission denied");
        train("--eval-data", secret).assertWrongUse("--eval-data " + secret, "permission denied");
    }

    @Test
    void aPromptThatLeavesNoRoom() {
        generate("--prompt", "word ".repeat(2000)).assertWrongUse("the prompt has", "the model's limit is 1024");
        generate("--prompt", "a\uD83D").assertWrongUse("half of a character at index 1");
    }

    @Test
    void optionsMayBeSpeltAsInPython() {
        assertArrayEquals(
                new String[] {"--lora-r", "a_b", "--eval-data=my_file", "-x_y", "--a-b-c"},
                Main.dashed("--lora_r", "a_b", "--eval_data=my_file", "-x_y", "--a-b-c"));
        train("--lora_r", 0).assertWrongUse("--lora-r should be at least 1, found 0");
    }

    @Test
    void verboseAlsoShowsWhere() {
        Cli.Result result = train("--lora-r", 0, "--verbose");
        assertEquals(2, result.status());
        assertTrue(result.err().startsWith("qlora: --lora-r should be"), result.err());
        assertTrue(result.err().contains("\tat io.qlora.cli."), result.err());
    }
}
