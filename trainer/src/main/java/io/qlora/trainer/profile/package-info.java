/** Where the time of training steps goes, kernel by kernel, and how much work that was. */
package io.qlora.trainer.profile;
