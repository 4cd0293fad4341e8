// Which lines differ between two texts.

// Beyond this many lines to compare with each other, all of them are told as changed.
const LINES_MAX = 2000;

// How many lines around a change are shown, and how many lines in all.
const AROUND = 2;
const SHOWN_MAX = 400;

export function changedLines(before, after) {
  const [old, fresh] = [before, after].map((text) => (text === "" ? [] : text.replace(/\n$/, "").split("\n")));
  const steps = compared(old, fresh);
  const isNear = (at) => steps.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(({ sign }) => sign !== " ");
  const shown = steps.filter(({ sign }, at) => sign !== " " || isNear(at));
  const times = (wanted) => steps.filter(({ sign }) => sign === wanted).length;
  const rest = shown.length - SHOWN_MAX;
  if (rest > 0) shown.splice(SHOWN_MAX, rest, { sign: " ", text: `… and ${rest} lines more` });
  return { added: times("+"), removed: times("-"), shown };
}

function compared(old, fresh) {
  let start = 0;
  while (start < old.length && start < fresh.length && old[start] === fresh[start]) start += 1;
  let end = 0;
  while (end < old.length - start && end < fresh.length - start && old.at(-1 - end) === fresh.at(-1 - end)) end += 1;
  const same = (text) => ({ sign: " ", text });
  return [
    ...old.slice(0, start).map(same),
    ...between(old.slice(start, old.length - end), fresh.slice(start, fresh.length - end)),
    ...old.slice(old.length - end).map(same),
  ];
}

// By the longest run of lines that both have in common.
function between(old, fresh) {
  const removed = (text) => ({ sign: "-", text });
  const added = (text) => ({ sign: "+", text });
  if (old.length > LINES_MAX || fresh.length > LINES_MAX) return [...old.map(removed), ...fresh.map(added)];
  const wide = fresh.length + 1;
  const common = new Uint16Array((old.length + 1) * wide);
  for (let a = old.length - 1; a >= 0; a -= 1) {
    for (let b = fresh.length - 1; b >= 0; b -= 1) {
      common[a * wide + b] = old[a] === fresh[b] ? common[(a + 1) * wide + b + 1] + 1
        : Math.max(common[(a + 1) * wide + b], common[a * wide + b + 1]);
    }
  }
  const steps = [];
  let [a, b] = [0, 0];
  while (a < old.length || b < fresh.length) {
    if (a < old.length && b < fresh.length && old[a] === fresh[b]) {
      steps.push({ sign: " ", text: old[a] });
      a += 1;
      b += 1;
    } else if (b >= fresh.length || (a < old.length && common[(a + 1) * wide + b] >= common[a * wide + b + 1])) {
      steps.push(removed(old[a]));
      a += 1;
    } else {
      steps.push(added(fresh[b]));
      b += 1;
    }
  }
  return steps;
}
