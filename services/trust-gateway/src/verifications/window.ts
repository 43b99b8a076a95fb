/** A bounded window over a stream of questions. Pure of what they are about. */

/**
 * Answers questions as they come, in whatever order the answers are ready, at most `windowMax` at once: a question
 * counts until its answer was taken, so that a slow taker stops the reading. When the taker leaves, nothing more is
 * read; what was read is answered to its end, for nobody. An error of the source of questions ends the answers.
 */
export async function* answersInWindow<Question, Answer>(
  questions: AsyncIterable<Question>,
  windowMax: number,
  answer: (question: Question) => Promise<Answer>,
): AsyncGenerator<Answer> {
  const ready: Answer[] = [];
  let waiting = 0;
  let over: { readonly error?: unknown } | undefined;
  let left = false;
  let changed = Promise.withResolvers<void>();
  let freed = Promise.withResolvers<void>();
  const change = (): void => changed.resolve();
  const end = (error?: unknown): void => {
    over ??= error === undefined ? {} : { error };
    change();
  };

  const read = async (): Promise<void> => {
    for await (const question of questions) {
      waiting += 1;
      answer(question).then(
        (answered) => {
          waiting -= 1;
          ready.push(answered);
          change();
        },
        (error: unknown) => end(error),
      );
      while (waiting + ready.length >= windowMax && !left) {
        await freed.promise;
        freed = Promise.withResolvers();
      }
      if (left) return;
    }
  };
  read().then(
    () => end(),
    (error: unknown) => end(error),
  );

  try {
    for (;;) {
      for (let next = ready[0]; next !== undefined; next = ready[0]) {
        yield next;
        ready.shift();
        freed.resolve();
      }
      if (over !== undefined && "error" in over) throw over.error;
      if (over !== undefined && waiting === 0) return;
      await changed.promise;
      changed = Promise.withResolvers();
    }
  } finally {
    left = true;
    freed.resolve();
  }
}
