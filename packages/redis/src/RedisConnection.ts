/**
 * A connection to Redis that a program can start without.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import * as Scope from "effect/Scope"

/** Between two attempts to connect. */
const pause = "500 millis"

/**
 * Builds the layer of a Redis client in the background, again and again until it succeeds. Until then every command fails
 * at once.
 *
 * **When to use**
 *
 * Around `NodeRedis.layer`, whose first connection must succeed: with it, a program whose Redis is away starts all the same,
 * alone.
 */
export const patient = <Out, E>(client: Layer.Layer<Redis.Redis | Out, E>): Layer.Layer<Redis.Redis> =>
  Layer.effect(
    Redis.Redis,
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      let current: Redis.Redis["Service"] | undefined
      const away = Effect.fail(new Redis.RedisError({ cause: new Error("Redis has not been reached yet") }))
      const connect: Effect.Effect<void> = Effect.gen(function* () {
        const attempt = yield* Scope.fork(scope)
        const exit = yield* Effect.exit(Layer.buildWithScope(Layer.fresh(client), attempt))
        if (exit._tag === "Success") {
          current = exit.value.mapUnsafe.get(Redis.Redis.key) as Redis.Redis["Service"]
          return
        }
        yield* Scope.close(attempt, Exit.void)
        yield* Effect.sleep(pause)
        yield* connect
      })
      // A Redis that is there is waited for, so that the first command finds it.
      const connecting = yield* Effect.forkScoped(connect)
      yield* Effect.raceFirst(
        Effect.asVoid(
          Effect.exit(
            Effect.callback<void>((resume) => {
              const stop = connecting.addObserver(() => resume(Effect.void))
              return Effect.sync(stop)
            })
          )
        ),
        Effect.sleep(pause)
      )
      return Redis.Redis.of({
        send: (command, ...args) => (current === undefined ? away : current.send(command, ...args)),
        subscribe: (channel) => (current === undefined ? Effect.never : current.subscribe(channel)),
        eval:
          (script) =>
          (...params) =>
            current === undefined ? away : current.eval(script)(...params),
        reserve: Effect.suspend(() => (current === undefined ? away : current.reserve))
      })
    })
  )
