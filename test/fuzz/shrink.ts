/**
 * Makes a failing sequence short: leaves out ever smaller pieces as long as it still fails.
 * Bounded, because each try may take a while.
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  triesMax = 300,
): Promise<T[]> {
  let current = [...items];
  let tries = 0;
  for (let size = Math.ceil(current.length / 2); size >= 1 && tries < triesMax; ) {
    let isShorter = false;
    // From the end: what comes last depends on what comes first.
    for (let at = current.length - size; at > -size && tries < triesMax; at -= size) {
      const without = current.filter((_, i) => i < at || i >= at + size);
      tries += 1;
      if (without.length === 0 || !(await fails(without))) continue;
      current = without;
      isShorter = true;
    }
    if (size === 1 && !isShorter) break;
    if (!isShorter || size > current.length) size = Math.max(1, Math.floor(size / 2));
  }
  return current;
}
