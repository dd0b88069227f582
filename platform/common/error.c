#include <weir/error.h>

const char *weir_strerror(int error)
{
    switch (error) {
    case WEIR_OK:
        return "no error";
#define TEXT(name, number, text) \
    case WEIR_##name:            \
        return text;
        WEIR_ERRORS(TEXT)
#undef TEXT
    default:
        return "unknown error";
    }
}

const char *weir_error_name(int error)
{
    switch (error) {
    case WEIR_OK:
        return "WEIR_OK";
#define NAME(name, number, text) \
    case WEIR_##name:            \
        return "WEIR_" #name;
        WEIR_ERRORS(NAME)
#undef NAME
    default:
        return "WEIR_?";
    }
}
