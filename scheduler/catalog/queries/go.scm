; What counts as an entity in Go. The capture names are explained in code.py.

(function_declaration name: (identifier) @name) @function

; func (s *Stack[T]) Push(…): the receiver's type comes before the name.
(method_declaration
  receiver: (parameter_list (parameter_declaration type: [
    (type_identifier) @owner
    (generic_type type: (type_identifier) @owner)
    (pointer_type (type_identifier) @owner)
    (pointer_type (generic_type type: (type_identifier) @owner))
  ]))
  name: (field_identifier) @name) @method

(type_spec name: (type_identifier) @name type: (struct_type)) @struct
(type_spec name: (type_identifier) @name type: (interface_type)) @interface

(type_declaration . (type_spec) @inner .) @outer

(comment) @lead
