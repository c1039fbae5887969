package io.qlora.engine.cpu;

import java.util.List;

/** Work that is cut into pieces, which may be done in any order and at the same time. */
interface Tasks {

    /** Number of pieces. */
    int count();

    /** Does piece {@code task}. */
    void run(int task);

    /** {@code count} pieces of {@code task}. */
    static Tasks of(int count, Workers.Task task) {
        return new Tasks() {
            @Override
            public int count() {
                return count;
            }

            @Override
            public void run(int piece) {
                task.run(piece);
            }
        };
    }

    /** Does all pieces of all of {@code jobs} as one job: nobody waits between two of them. */
    static void run(Workers workers, List<? extends Tasks> jobs) {
        int[] first = new int[jobs.size() + 1];
        for (int j = 0; j < jobs.size(); j++) {
            first[j + 1] = first[j] + jobs.get(j).count();
        }
        workers.run(first[jobs.size()], task -> {
            int j = 0;
            while (task >= first[j + 1]) {
                j++;
            }
            jobs.get(j).run(task - first[j]);
        });
    }
}
