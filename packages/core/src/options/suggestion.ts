/** Farther away than this, a suggestion would be a guess, however long the word. */
const MAX_DISTANCE = 3;
/** Of the letters of a word, one in so many may be wrong. */
const LETTERS_PER_MISTAKE = 3;

/** The candidate that looks most like `word`; undefined when none is close. */
export function suggestion(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  const limit = Math.max(1, Math.min(MAX_DISTANCE, Math.floor(word.length / LETTERS_PER_MISTAKE)));
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    // Of two single letters, one is as far from the other as from any.
    const isAlike = distance < Math.max(word.length, candidate.length);
    if (isAlike && distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** `Did you mean "x"?`, or what there is to choose from. */
export function suggest(word: string, candidates: readonly string[]): string {
  const best = suggestion(word, candidates);
  if (best !== undefined) return `Did you mean "${best}"?`;
  return candidates.length === 0 ? '' : `Possible: ${candidates.join(', ')}.`;
}

/**
 * Damerau–Levenshtein (optimal string alignment): letters added, removed, replaced, and neighbours
 * swapped.
 */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let distance = Math.min(at(previous, j) + 1, at(current, j - 1) + 1, at(previous, j - 1) + cost);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) distance = Math.min(distance, at(beforePrevious, j - 2) + 1);
      current.push(distance);
    }
    [beforePrevious, previous] = [previous, current];
  }
  return at(previous, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
