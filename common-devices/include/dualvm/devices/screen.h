// What a display shows, for whoever shows it on: text as cells, or a picture whose size is told here and whose pixels
// Vga::picture() renders.
#pragma once

#include <string>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::devices {

struct Screen {
    enum class Kind : u8 { Blank, Text, Graphics };  // Blank: the adapter shows nothing
    struct Cell {
        u8 character = ' ';
        u8 attribute = 7;  // bits 0-3 foreground, 4-6 background, 7 blinks or brightens the background
        bool operator==(const Cell&) const = default;
    };
    struct Cursor {
        unsigned row = 0, column = 0;
        bool visible = false;  // false as well if it is not on the screen
        bool operator==(const Cursor&) const = default;
    };

    Kind kind = Kind::Blank;
    unsigned width = 0, height = 0;  // in pixels
    unsigned bits_per_pixel = 0;     // Graphics: 1, 2, 4, 8, 15, 16, 24, 32
    // Text only: rows from the top, columns from the left.
    unsigned columns = 0, rows = 0;
    std::vector<Cell> cells;
    bool blinks = false;  // what an attribute's bit 7 means
    Cursor cursor;

    // Within rows and columns.
    const Cell& at(unsigned row, unsigned column) const { return cells[std::size_t{row} * columns + column]; }
    // The text as UTF-8: blanks at the ends of lines cut, empty lines at the end left out.
    std::string text() const;
};

// A character of code page 437, which VGA's font shows, as UTF-8.
std::string from_code_page_437(u8 character);

}  // namespace dualvm::devices
