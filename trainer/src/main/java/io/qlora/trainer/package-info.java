/**
 * Fine-tuning as a library: {@link FineTuner} for an application with data of its own, {@link TrainingRun} from files
 * to files, with evaluation, metrics and checkpoints.
 */
package io.qlora.trainer;
