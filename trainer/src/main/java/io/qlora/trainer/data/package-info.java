/**
 * Data files, tokenised: what of each document is given and what is learnt, in batches whose order the seed decides.
 */
package io.qlora.trainer.data;
