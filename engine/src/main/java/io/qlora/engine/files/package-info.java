/** Files that are never half-written, and failures that name the file. */
package io.qlora.engine.files;
