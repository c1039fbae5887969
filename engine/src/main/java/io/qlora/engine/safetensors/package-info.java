/**
 * Safetensors files, single or in shards: mapped, and checked before anything of them is used. And JSON files, as
 * strictly.
 */
package io.qlora.engine.safetensors;
