package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Output directories and checkpoints that a run must not or cannot use: what is in them stays as it was, to the byte. */
class BadOutputTest {

    private static final String WEIGHTS = "adapter_model.safetensors";
    private static final String OPTIMIZER = "optimizer.safetensors";
    private static final String STATE = "trainer_state.json";

    @TempDir
    static Path shared;

    @TempDir
    Path folder;

    private static Path data;
    private Path output;
    private Path checkpoint;

    @BeforeAll
    static void train() throws IOException {
        data = TinyModel.data(shared.resolve("data.jsonl"), 4);
        Cli.Result result = run(shared.resolve("trained"));
        assertEquals(0, result.status(), result.err());
    }

    @BeforeEach
    void copy() throws IOException {
        output = TinyModel.copy(shared.resolve("trained"), folder.resolve("out"));
        checkpoint = TinyModel.copy(shared.resolve("trained/checkpoint-1"), output.resolve("checkpoint-1"));
    }

    private static Cli.Result run(Path output, Object... more) {
        return Cli.train(
                TinyModel.DIRECTORY,
                data,
                output,
                "--max-steps 2 --per-device-train-batch-size 1 --lora-r 2 --target-modules q_proj,v_proj --save-steps 1",
                more);
    }

    /** Runs, and requires that nothing in the output directory has changed. */
    private Cli.Result runUntouched(Object... more) throws IOException {
        Contents before = Contents.of(folder);
        Cli.Result result = run(output, more);
        before.assertSame(Contents.of(folder));
        return result;
    }

    @Test
    void anOutputDirectoryThatIsNotEmptyIsLeftAlone() throws IOException {
        runUntouched().assertWrongUse("--output " + output, "not empty", "--resume-from-checkpoint");
    }

    @Test
    void anOutputThatIsAFileIsLeftAlone() throws IOException {
        output = Files.writeString(folder.resolve("file"), "precious");
        runUntouched().assertWrongUse("--output " + output, "expected a directory, found a file");
    }

    @Test
    void anOutputBelowAFileIsRefused() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "precious");
        output = file.resolve("out");
        runUntouched().assertFailure(output, "cannot be written");
    }

    @Test
    void anOutputThatMayNotBeWrittenToIsRefused() throws IOException {
        output = Files.createDirectory(folder.resolve("locked"));
        assertTrue(output.toFile().setWritable(false, false));
        assumeFalse(Files.isWritable(output), "this user may write everywhere");
        runUntouched().assertFailure(output, "permission denied");
    }

    @Test
    void anotherRunsOutputIsNotResumedInto() throws IOException {
        Path other = shared.resolve("trained/checkpoint-1");
        runUntouched("--resume-from-checkpoint", other).assertWrongUse("--output " + output, "not empty");
    }

    @Test
    void anOutputWithoutCheckpointsCannotBeResumed() throws IOException {
        for (String file : List.of(WEIGHTS, OPTIMIZER, STATE, "adapter_config.json", "README.md")) {
            Files.delete(checkpoint.resolve(file));
        }
        runUntouched("--resume-from-checkpoint").assertWrongUse(output, "holds no checkpoint", "--save-steps");
    }

    @Test
    void aDirectoryThatIsNoCheckpointIsRefused() throws IOException {
        Files.delete(checkpoint.resolve(STATE));
        runUntouched("--resume-from-checkpoint", checkpoint)
                .assertFailure(checkpoint, "expected a checkpoint", STATE, "checkpoint-…");
    }

    @ParameterizedTest
    @EnumSource
    void damagedTensorsInACheckpointAreRefused(DamagedTensors damage) throws IOException {
        damage.inflict(checkpoint.resolve(OPTIMIZER));
        runUntouched("--resume-from-checkpoint").assertFailure(OPTIMIZER, damage.sentence);
        Path whole = shared.resolve("trained/checkpoint-1").resolve(OPTIMIZER);
        Files.copy(whole, checkpoint.resolve(OPTIMIZER), StandardCopyOption.REPLACE_EXISTING);
        damage.inflict(checkpoint.resolve(WEIGHTS));
        runUntouched("--resume-from-checkpoint").assertFailure(WEIGHTS, damage.sentence);
    }

    @Test
    void tensorsOfOtherShapesInACheckpointAreRefused() throws IOException {
        TinyModel.editHeader(checkpoint.resolve(OPTIMIZER), header -> header.replaceFirst("\\[2,96]", "[96,2]"));
        runUntouched("--resume-from-checkpoint").assertFailure(OPTIMIZER, "expected [2, 96]", "found [96, 2]");
    }

    @ParameterizedTest
    @CsvSource({
        "--learning-rate, 1e-3, '--learning-rate 2.0E-4, this run has 0.001'",
        "--seed, 7, '--seed 42, this run has 7'",
        "--lora-alpha, 32, '--lora-alpha 8.0, this run has 32.0'",
        "--lora-r, 4, '--lora-r 2, this run has 4'",
        "--target-modules, q_proj, '--target-modules q_proj,v_proj, this run has q_proj'",
        "--quantization, none, '--quantization nf4, this run has none'",
        "--max-length, 12, 'other documents, or with these tokenised otherwise; resume with the data, --max-length,'",
        "--gradient-accumulation-steps, 2, '--gradient-accumulation-steps 1, this run has 2'",
        "--max-steps, 3, '2 steps in all, this run has 3; resume with the --max-steps or --num-train-epochs it was'",
        "--eval-split, 1, '4 documents to learn from, this run has 3; resume with the data, --max-length, --eval-split'",
    })
    void aCheckpointOfAnotherRunIsRefused(String option, String value, String difference) throws IOException {
        List<Object> arguments = new ArrayList<>();
        if (!option.equals("--lora-r")) {
            arguments.addAll(List.of("--lora-r", 2));
        }
        if (!option.equals("--target-modules")) {
            arguments.addAll(List.of("--target-modules", "q_proj,v_proj"));
        }
        if (!option.equals("--max-steps")) {
            arguments.addAll(List.of("--max-steps", 2));
        }
        arguments.addAll(List.of(option, value));
        Contents before = Contents.of(folder);
        Cli.train(
                        TinyModel.DIRECTORY,
                        data,
                        output,
                        "--per-device-train-batch-size 1 --save-steps 1 --resume-from-checkpoint",
                        arguments.toArray())
                .assertWrongUse(checkpoint, "was made with " + difference, "it was begun with");
        assertEquals(before.names(), Contents.of(folder).names());
    }

    @ParameterizedTest
    @CsvSource({"0", "-1", "3", "99999999999999"})
    void aCheckpointOfAnImpossibleStepIsRefused(long step) throws IOException {
        TinyModel.edit(checkpoint.resolve(STATE), (ObjectNode state) -> state.put("global_step", step));
        runUntouched("--resume-from-checkpoint")
                .assertFailure(STATE, "global_step should be from 1 to", "found " + step);
    }

    @Test
    void aModelThatCannotFitIsRefusedWithTheOptionThatHelps() throws IOException {
        Path model = TinyModel.resized(folder.resolve("model"), 3, 1 << 28);
        Cli.train(model, data, folder.resolve("new"), "--lora-r 1 --quantization none")
                .assertFailure("this run needs", "GiB", "available", "--quantization nf4");
        assertTrue(Files.notExists(folder.resolve("new")));
        Cli.train(model, data, folder.resolve("new"), "--lora-r 1 --quantization nf4")
                .assertFailure("this run needs", "a machine with more memory");
        Cli.run("eval", "--model", model, "--data", data, "--quantization", "none")
                .assertFailure("this run needs", "GiB", "available", "--quantization nf4");
        Cli.run("generate", "--model", model, "--quantization", "none")
                .assertFailure("this run needs", "GiB", "available", "--quantization nf4");
    }
}
