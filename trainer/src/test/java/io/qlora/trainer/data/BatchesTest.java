package io.qlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BatchesTest {

    private static DataSet documents(int count) {
        return DataSet.of(IntStream.range(0, count)
                .mapToObj(i -> new Document(new int[] {i, i}, new boolean[] {false, true}))
                .toList());
    }

    @Test
    void anEpochHasEveryDocumentOnceAndTheNextAnotherOrder() {
        Batches batches = new Batches(documents(10), 4, 7);
        assertEquals(3, batches.stepsPerEpoch());
        List<Document> first = new ArrayList<>();
        List<Document> second = new ArrayList<>();
        for (int step = 1; step <= 3; step++) {
            first.addAll(batches.step(step));
            second.addAll(batches.step(step + 3L));
        }
        assertEquals(10, new HashSet<>(first).size());
        assertEquals(new HashSet<>(first), new HashSet<>(second));
        assertNotEquals(first, second);
        assertEquals(first.subList(4, 8), batches.step(2));
    }

    @Test
    void aSeedHasAnOrderOfItsOwn() {
        DataSet data = documents(10);
        List<Document> order = new Batches(data, 10, 7).step(1);
        assertEquals(order, new Batches(data, 10, 7).step(1));
        assertNotEquals(order, new Batches(data, 10, 8).step(1));
    }

    @Test
    void aStepMayBeLargerThanTheData() {
        Batches batches = new Batches(documents(3), Integer.MAX_VALUE, 1);
        assertEquals(1, batches.stepsPerEpoch());
        assertEquals(3, batches.step(1).size());
        assertEquals(3, batches.step(1_000_000_000_000L).size());
    }

    @Test
    void theLastMicroBatchMayBeSmaller() {
        List<List<Document>> parts = Batches.split(documents(5).documents(), 2);
        assertEquals(List.of(2, 2, 1), parts.stream().map(List::size).toList());
    }
}
