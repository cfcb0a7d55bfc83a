// Sample source: components.
import React from "react";

type Props = { label: string };

export const Badge = ({ label }: Props) => <span className="badge">{label}</span>;

export class Panel extends React.Component<Props> {
  render() {
    return <Badge label={this.props.label} />;
  }
}
