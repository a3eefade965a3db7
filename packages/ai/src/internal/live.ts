/**
 * The common case: keys, address and all from `Config`, with the same strategy and policies as the fetch without Effect
 * (ADR 7). One layer, so that the models of a program share one pool of keys.
 */
import type * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import type { HttpClient } from "effect/http"
import { CircuitBreaker } from "@evenkeel/circuit-breaker"
import { type Key, KeyPool } from "@evenkeel/core"
import { LeastInFlight } from "@evenkeel/least-in-flight"
import { OpenRouter, type OpenRouterError } from "@evenkeel/openrouter"
import { Retry } from "@evenkeel/retry"

export type ConfigFailure = Config.ConfigError | Key.InvalidKey | OpenRouterError.InvalidOption

export const live: Layer.Layer<OpenRouter.OpenRouter, ConfigFailure, HttpClient.HttpClient> =
  OpenRouter.layer.pipe(
    Layer.provide([LeastInFlight.layer(), Retry.layer(), CircuitBreaker.layer(), KeyPool.layerConfig])
  )
