; What counts as an entity in Rust. The capture names are explained in code.py.

(function_item name: (identifier) @name) @function
(struct_item name: (type_identifier) @name) @struct
(enum_item name: (type_identifier) @name) @enum
(union_item name: (type_identifier) @name) @struct
(trait_item name: (type_identifier) @name) @trait
(macro_definition name: (identifier) @name) @macro

; An impl lends its type's name to its functions and makes methods of them.
(impl_item type: [
  (type_identifier) @name
  (primitive_type) @name
  (generic_type type: (type_identifier) @name)
  (generic_type type: (scoped_type_identifier name: (type_identifier) @name))
  (scoped_type_identifier name: (type_identifier) @name)
  (reference_type type: (type_identifier) @name)
]) @body

(mod_item name: (identifier) @name body: (_)) @namespace

[(line_comment) (block_comment) (attribute_item)] @lead
