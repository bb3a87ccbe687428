"""Bytes and times as people say them."""


def size(count: float) -> str:
    """Bytes: "512 B", "1.5 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def duration(seconds: float) -> str:
    """Seconds: "0.42 s", "13 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"; of short times hundredths."""
    if seconds < 59.5:
        return f"{round(seconds, 2):.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def microseconds(count: float) -> str:
    """Microseconds: "250 µs", "2.5 ms", "1.2 s"."""
    for unit, step in (("µs", 1.0), ("ms", 1e3)):
        if count < 999.5 * step:
            return f"{count / step:.3g} {unit}"
    return duration(count / 1e6)


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: "0:35", "12:03", "2:05:00"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
