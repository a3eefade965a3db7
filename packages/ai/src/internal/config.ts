/**
 * Options that hold for a part of a program.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"

interface WithModel {
  readonly model?: string | undefined
}

/** The options in force: those of the place before those that the model was made with. */
export const settingsOf = <Self, S extends WithModel, O>(
  config: Context.Key<Self, S>,
  model: string,
  options: O
): Effect.Effect<O & S & { readonly model: string }> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const overrides = Context.getOrUndefined(context, config)
    return Effect.succeed({ ...options, ...overrides!, model: overrides?.model ?? model })
  })

/** Puts options before those in force. */
export const overriding = <Self, S extends WithModel>(
  config: Context.Key<Self, S>
): {
  (overrides: S): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Self>>
  <A, E, R>(self: Effect.Effect<A, E, R>, overrides: S): Effect.Effect<A, E, Exclude<R, Self>>
} =>
  dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, overrides: S): Effect.Effect<A, E, Exclude<R, Self>> =>
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.provideService(self, config, { ...Context.getOrUndefined(context, config), ...overrides })
    )
  )
