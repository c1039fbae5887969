/** What a model and an adapter know of each other: linears by name, and what can be attached to them. */
package io.qlora.engine.nn;
