"""Every format that can be ingested."""

from __future__ import annotations

from segue.data.ingestion.contract import Reader
from segue.data.readers import (
    apple_music,
    audio,
    csv,
    feedback,
    itunes,
    jspf,
    lfm_1k,
    lfm_2b,
    listenbrainz,
    m3u,
    mpd,
    mssd,
    parquet,
    rekordbox,
    scrobbler_log,
    scrobbles,
    spotify_history,
    taste_profile,
    tidal,
    traktor,
    xspf,
    youtube_music,
)

FORMATS: dict[str, Reader] = {
    "mpd": mpd.READER,
    "mssd": mssd.READER,
    "lfm-1k": lfm_1k.READER,
    "lfm-2b": lfm_2b.READER,
    "taste-profile": taste_profile.READER,
    "spotify-history": spotify_history.READER,
    "scrobbler-log": scrobbler_log.READER,
    "listenbrainz": listenbrainz.READER,
    "scrobbles": scrobbles.READER,
    "youtube-music": youtube_music.READER,
    "apple-music": apple_music.READER,
    "itunes": itunes.READER,
    "tidal": tidal.READER,
    "rekordbox": rekordbox.READER,
    "traktor": traktor.READER,
    "m3u": m3u.READER,
    "xspf": xspf.READER,
    "jspf": jspf.READER,
    "audio": audio.READER,
    "csv": csv.READER,
    "parquet": parquet.READER,
    "feedback": feedback.READER,
}
"""Readers by the name that their format has on the command line."""
