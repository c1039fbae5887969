package io.qlora.engine.ops.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;
import org.opentest4j.AssertionFailedError;

class ClosenessTest {

    @Test
    void arraysOfOtherLengthsDiffer() {
        for (int length : new int[] {1, 3}) {
            String message = "x: expected 2 elements, found " + length;
            assertEquals(
                    message,
                    assertThrows(
                                    AssertionFailedError.class,
                                    () -> Closeness.assertSameBits(new float[2], new float[length], "x"))
                            .getMessage());
            assertEquals(
                    message,
                    assertThrows(
                                    AssertionFailedError.class,
                                    () -> Closeness.assertClose(new float[2], new float[length], 1, "x"))
                            .getMessage());
        }
    }
}
