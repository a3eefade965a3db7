/**
 * What the others have in flight by the time a pick goes by it, from what they had when they told of it.
 *
 * Many processes that see the same old counts all take the key that looks the emptiest, and it is full before any of them
 * hears of it. So the counts are read as the others read them: what was in flight ends with time, and what the others begin
 * meanwhile fills up the emptiest keys first, up to one level. Keys below the level look alike then, but for a grain: each
 * process draws which of them it prefers, the more probably the more they lack, so that all together bring each what it
 * lacks. The older the news, the higher the level: news that is older than a request lasts says nothing any more.
 *
 * Source: M. Dahlin, "Interpreting Stale Load Information", IEEE TPDS 2000 (basic load interpretation); M. Mitzenmacher,
 * "How Useful Is Old Information?", 2000, for what becomes of picks that do not.
 */

export interface Reported {
  /** In flight when it was told. */
  readonly count: number
  readonly weight: number
}

/**
 * The counts to go by. `arrivals` is how many uses the others have begun since, on average. As many end meanwhile, so the sum
 * stays what it was; of what was reported, a part of e^(−arrivals/sum) is still there.
 */
export const expected = (
  reported: ReadonlyArray<Reported>,
  arrivals: number,
  random: () => number
): ReadonlyArray<number> => {
  const sum = reported.reduce((total, { count }) => total + count, 0)
  if (sum <= 0 || arrivals <= 0) return reported.map(({ count }) => count)
  const left = Math.exp(-arrivals / sum)
  const vessels = reported.map(({ count, weight }) => ({ height: (count * left) / weight, weight }))
  const level = levelOf(vessels, sum * (1 - left))
  const lowest = vessels.reduce((least, { height }) => Math.min(least, height), level)
  return vessels.map(({ height, weight }) => {
    if (height >= level) return weight * exact(height)
    const isPreferred = random() * (level - lowest) < level - height
    return weight * (exact(level) - (isPreferred ? grain : 0))
  })
}

/** How high so much water stands in vessels of these widths that are filled so high already. */
const levelOf = (
  vessels: ReadonlyArray<{ readonly height: number; readonly weight: number }>,
  water: number
): number => {
  const sorted = vessels.toSorted((a, b) => a.height - b.height)
  let [width, volume] = [0, water]
  for (const [n, { height, weight }] of sorted.entries()) {
    width += weight
    volume += weight * height
    const next = sorted[n + 1]
    if (next === undefined || volume / width <= next.height) return volume / width
  }
  return 0
}

/** In 64ths, so that adding and subtracting ones leaves no crumbs: keys that look alike must go on doing so. */
const grain = 1 / 64
const exact = (value: number): number => Math.round(value / grain) * grain
