"""The containers and codecs that are opened: FFmpeg knows hundreds more, and some of those name other files."""

from av.codec import codecs_available

# Of FFmpeg's demuxers, those of the suffixes in `data_manifest.corpora.contract`, and formats that real corpora hold
# under these suffixes (NIST SPHERE, RF64, CAF, raw MPEG video). None of them refers to other files.
CONTAINERS = (
    *("aac", "aiff", "amr", "asf", "au", "avi", "caf", "dv", "flac", "flv", "matroska", "mov", "mp3", "mpeg"),
    *("mpegts", "mpegvideo", "nistsphere", "ogg", "w64", "wav"),
)
# These containers may announce no streams, and then FFmpeg decodes frames of any size to find out what they hold.
CONTAINERS_WITHOUT_HEADER = frozenset(("flv", "mpeg", "mpegts"))
# Without png: FFmpeg unpacks its text chunks and colour profiles without a limit.
_MPEG = ("mpeg1video", "mpeg2video", "mpeg4", "mpegvideo")
_VIDEO = (
    *("av1", "cfhd", "cinepak", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "flashsv", "flashsv2", "flv", "h261", "h263"),
    *("h263i", "h263p", "h264", "hevc", "huffyuv", "indeo2", "indeo3", "indeo4", "indeo5", "lagarith", "libdav1d"),
    *("libvpx", "libvpx-vp9", "magicyuv", "mjpeg", "mjpegb", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "msvideo1"),
    *("prores", "qtrle", "rawvideo", "rpza", "svq1", "svq3", "theora", "utvideo", "v210", "vc1", "vp3", "vp5", "vp6"),
    *("vp6a", "vp6f", "vp7", "vp8", "vp9", "vvc", "wmv1", "wmv2", "wmv3"),
)
_AUDIO = (
    *("aac", "aac_latm", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "adpcm_yamaha", "alac"),
    *("amrnb", "amrwb", "dca", "eac3", "flac", "g722", "g726", "gsm", "gsm_ms", "libopencore_amrnb"),
    *("libopencore_amrwb", "libopus", "libspeex", "libvorbis", "mace3", "mace6", "mp1", "mp1float", "mp2", "mp2float"),
    *("mp3", "mp3float", "nellymoser", "opus", "qcelp", "qdm2", "speex", "tta", "vorbis", "wavpack", "wmalossless"),
    *("wmapro", "wmav1", "wmav2", "wmavoice"),
    *sorted(name for name in codecs_available if name.startswith("pcm_")),
)
DECODERS = (*_VIDEO, *_MPEG, *_AUDIO)
# What FFmpeg may decode to open a container without a header. The timestamps of MPEG video need it.
DECODERS_WITHOUT_HEADER = (*_MPEG, *_AUDIO)
