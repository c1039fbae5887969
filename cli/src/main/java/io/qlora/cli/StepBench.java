package io.qlora.cli;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.PlanningDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.Trainer;
import io.qlora.trainer.TrainingConfig;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.WarmUp;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Training steps to be measured: on random weights and tokens, an adapter on all linears.
 *
 * @param rank of the adapter
 * @param documents in a step
 * @param tokens in a document
 */
record StepBench(
        LlamaConfig config,
        LoadOptions.Quantization quantization,
        int rank,
        int documents,
        int tokens,
        boolean checkpointing) {

    /** Steps that do not count. */
    static final int WARM_UP = 2;

    /** Hears of steps. */
    interface Watch {

        /** After each, those of the warm-up included; false for no more. */
        boolean next(StepReport report);

        /** After all, while everything is still in memory. */
        default void end() {}
    }

    /**
     * Trains.
     *
     * @param steps that count
     */
    void run(Device device, int steps, Watch watch) throws IOException {
        StepMemory.Sizes needed = rehearse(device);
        try (LlamaModel model = load(device)) {
            train(model, needed, WARM_UP + steps, watch);
        }
    }

    /** What a step takes: a training run knows it before it begins, too. */
    private StepMemory.Sizes rehearse(Device device) throws IOException {
        try (PlanningDevice planning = new PlanningDevice(device);
                LlamaModel model = synthetic(planning)) {
            return train(model, new StepMemory.Sizes(0, 0, 0), 1, report -> true);
        }
    }

    /** Trains with so much memory reserved; returns what was needed. */
    private StepMemory.Sizes train(LlamaModel model, StepMemory.Sizes reserved, int steps, Watch watch)
            throws IOException {
        LoraConfig lora = LoraConfig.builder().r(rank).loraAlpha(2.0 * rank).build();
        TrainingConfig training = TrainingConfig.builder()
                .learningRate(1e-4)
                .batchSize(documents)
                .maxSteps(steps)
                .gradientCheckpointing(checkpointing)
                .build();
        try (ModelMemory memory = new ModelMemory(model.device())) {
            LoraAdapter adapter = LoraAdapter.create(lora, model.linears(), memory, 1);
            adapter.attach();
            try (Trainer trainer = new Trainer(model, adapter.parameters(), training)) {
                trainer.memory().reserve(reserved);
                trainer.train(data(), null, new TrainingListener() {
                    @Override
                    public void onStep(StepReport report) {
                        if (!watch.next(report)) {
                            trainer.requestStop();
                        }
                    }
                });
                watch.end();
                return trainer.memory().needed();
            }
        }
    }

    /** As a training run loads one: while the compiler is at work, too. */
    private LlamaModel load(Device device) {
        try (WarmUp _ = WarmUp.begin(device)) {
            return synthetic(device);
        }
    }

    private LlamaModel synthetic(Device device) {
        LoadOptions options = LoadOptions.builder().quantization(quantization).build();
        return LlamaModel.synthetic(config, options, 1, device);
    }

    private DataSet data() {
        Random random = new Random(1);
        List<Document> all = new ArrayList<>();
        for (int d = 0; d < documents; d++) {
            boolean[] targets = new boolean[tokens];
            Arrays.fill(targets, 1, tokens, true);
            all.add(new Document(random.ints(tokens, 0, config.vocabSize()).toArray(), targets));
        }
        return DataSet.of(all);
    }
}
