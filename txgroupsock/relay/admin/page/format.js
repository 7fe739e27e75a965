// Numbers for people. Units are written out; "M" is a million, "MiB" is 1,048,576 bytes.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat("en", {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const twoDigits = new Intl.NumberFormat("en", {
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});

export function count(number) {
  return whole.format(number);
}

/** So many of a thing: "1 route", "2 routes". */
export function many(number, singular, plural = `${singular}s`) {
  return `${count(number)} ${number === 1 ? singular : plural}`;
}

/** The number and the unit of a bit rate: ["10.53", "Mbit/s"]. */
export function bitRateParts(bits) {
  if (bits < 1) return [bits > 0 ? oneDigit.format(bits) : "0", "bit/s"];
  for (const unit of ["bit/s", "kbit/s", "Mbit/s"]) {
    if (bits < 999.95) return [oneDigit.format(bits), unit];
    bits /= 1000;
  }
  return [twoDigits.format(bits), "Gbit/s"];
}

/** A bit rate: "10.5 Mbit/s". */
export function bitRate(bits) {
  return bitRateParts(bits).join(" ");
}

/** A rate of packets: "1,000 packets/s", or "0.5 packets/s" where that is few. */
export function packetRate(rate) {
  return `${rate > 0 && rate < 99.95 ? oneDigit.format(rate) : count(rate)} packets/s`;
}

/** A short time: "1.5 ms", or "1,250 ms". */
export function milliseconds(ms) {
  return `${ms > 0 && ms < 99.95 ? oneDigit.format(ms) : count(ms)} ms`;
}

/** A size in memory: "4.00 MiB". */
export function size(bytes) {
  if (bytes < 1024) return many(bytes, "byte");
  for (const unit of ["KiB", "MiB"]) {
    bytes /= 1024;
    if (bytes < 1023.995) return `${twoDigits.format(bytes)} ${unit}`;
  }
  return `${twoDigits.format(bytes / 1024)} GiB`;
}

/** A span of time: "12 s", "5 min 0 s", "1 h 6 min", "3 d 4 h". */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${count(Math.floor(s / 86400))} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** A time of day here, with the date unless it is today's: "14:03:07". */
export function clock(seconds, today = new Date()) {
  const when = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const time = [when.getHours(), when.getMinutes(), when.getSeconds()].map(two).join(":");
  if (when.toDateString() === today.toDateString()) return time;
  return `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())} ${time}`;
}
