/**
 * How long tensors live: as long as a model ({@link ModelMemory}) or a step ({@link StepMemory}); and a device on which
 * what they take is counted before it is taken ({@link PlanningDevice}).
 */
package io.qlora.engine.memory;
