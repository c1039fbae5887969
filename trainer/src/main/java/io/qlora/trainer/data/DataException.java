package io.qlora.trainer.data;

import java.io.IOException;

/** Data that cannot be trained on; the message names file, line, expectation and way out. */
public final class DataException extends IOException {

    private static final long serialVersionUID = 1L;

    DataException(String message) {
        super(message);
    }
}
